#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "framework/linalg/blas_threads.hpp"
#include "framework/linalg/distributed_matrix.hpp"

extern "C" {
void pdsyrk_(const char* uplo, const char* trans, const int* n, const int* k, const double* alpha, const double* a,
             const int* ia, const int* ja, const int* desca, const double* beta, double* c, const int* ic,
             const int* jc, const int* descc);
void pdgemm_(const char* ta, const char* tb, const int* m, const int* n, const int* k, const double* alpha,
             const double* a, const int* ia, const int* ja, const int* desca, const double* b, const int* ib,
             const int* jb, const int* descb, const double* beta, double* c, const int* ic, const int* jc,
             const int* descc);
void pdsyevd_(const char* jobz, const char* uplo, const int* n, double* a, const int* ia, const int* ja,
              const int* desca, double* w, double* z, const int* iz, const int* jz, const int* descz, double* work,
              const int* lwork, int* iwork, const int* liwork, int* info);
void pdgesvd_(const char* jobu, const char* jobvt, const int* m, const int* n, double* a, const int* ia, const int* ja,
              const int* desca, double* s, double* u, const int* iu, const int* ju, const int* descu, double* vt,
              const int* ivt, const int* jvt, const int* descvt, double* work, const int* lwork, int* info);
}

namespace kronlab::linalg {
namespace {

constexpr int one = 1;
constexpr double unit = 1.0, zero = 0.0;

int as_int(Index value) { return checked_cast<int>(value); }

/// The same verdict on every rank, those outside the grid included. Collective.
void expect_success(const BlacsGrid& grid, int info, const char* routine) {
  const Index illegal = grid.communicator().max(Index{-info}), failed = grid.communicator().max(Index{info});
  KRONLAB_EXPECTS(illegal <= 0, "{}: argument {} is illegal", routine, illegal);
  if (failed > 0) throw DataError(fmt::format("{} did not converge ({})", routine, failed));
}

/// Rank 0 is in every grid.
std::vector<double> from_root(const BlacsGrid& grid, std::vector<double> values) {
  grid.communicator().broadcast(std::span<double>(values));
  return values;
}

Matrix<double> transposed(const Matrix<double>& a) {
  Matrix<double> t(a.cols(), a.rows());
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.cols(); ++j) t(j, i) = a(i, j);
  }
  return t;
}

Svd direct_svd(const DistributedMatrix& a, Index k) {
  const auto& grid = *a.grid();
  const Index p = std::min(a.rows(), a.cols());
  DistributedMatrix work_a = a, u(a.grid(), a.rows(), p), vt(a.grid(), p, a.cols());
  std::vector<double> s(static_cast<std::size_t>(p));
  int info = 0;
  if (grid.has_this_rank()) {
    const int m = as_int(a.rows()), n = as_int(a.cols());
    const auto call = [&](double* work, int lwork) {
      pdgesvd_("V", "V", &m, &n, work_a.data(), &one, &one, work_a.descriptor(), s.data(), u.data(), &one, &one,
               u.descriptor(), vt.data(), &one, &one, vt.descriptor(), work, &lwork, &info);
    };
    // Asking for the size writes more than one element.
    std::vector<double> work(8);
    call(work.data(), -1);
    if (info == 0) {
      work.resize(static_cast<std::size_t>(work[0]) + 64);
      call(work.data(), as_int(static_cast<Index>(work.size())));
    }
  }
  expect_success(grid, info, "pdgesvd");
  Svd result{u.gather(0, k), from_root(grid, std::move(s)), {}};
  const Matrix<double> all_rows = vt.gather();
  result.vt = Matrix<double>(k, a.cols());
  std::copy_n(all_rows.data(), result.vt.size(), result.vt.data());
  return result;
}

/// Eigenvectors (columns, by rising eigenvalue) and eigenvalues of A^T A or A A^T.
std::pair<DistributedMatrix, std::vector<double>> gram_eigen(const DistributedMatrix& a, bool is_tall) {
  const auto& grid = *a.grid();
  const Index short_side = is_tall ? a.cols() : a.rows();
  DistributedMatrix g(a.grid(), short_side, short_side), vectors(a.grid(), short_side, short_side);
  std::vector<double> values(static_cast<std::size_t>(short_side));
  int info = 0;
  if (grid.has_this_rank()) {
    const int n = as_int(short_side), inner = as_int(is_tall ? a.rows() : a.cols());
    pdsyrk_("L", is_tall ? "T" : "N", &n, &inner, &unit, a.data(), &one, &one, a.descriptor(), &zero, g.data(), &one,
            &one, g.descriptor());
    const auto call = [&](double* work, int lwork, int* iwork, int liwork) {
      pdsyevd_("V", "L", &n, g.data(), &one, &one, g.descriptor(), values.data(), vectors.data(), &one, &one,
               vectors.descriptor(), work, &lwork, iwork, &liwork, &info);
    };
    std::vector<double> work(8);
    std::vector<int> iwork(8);
    call(work.data(), -1, iwork.data(), -1);
    if (info == 0) {
      // pdsyevd asks for too little for the pdormtr inside it, which then does nothing, silently.
      constexpr Index block = DistributedMatrix::block;
      work.resize(static_cast<std::size_t>(static_cast<Index>(work[0]) + block * (2 * short_side + 4 * block)));
      iwork.resize(static_cast<std::size_t>(iwork[0]) + 64);
      call(work.data(), as_int(static_cast<Index>(work.size())), iwork.data(),
           as_int(static_cast<Index>(iwork.size())));
    }
  }
  expect_success(grid, info, "pdsyevd");
  return {std::move(vectors), from_root(grid, std::move(values))};
}

/// As the local solver: the short side's vectors X, the long side's by Y = A X, s_i = |y_i|.
Svd gram_svd(const DistributedMatrix& a, Index k) {
  const bool is_tall = a.rows() >= a.cols();
  const auto [vectors, values] = gram_eigen(a, is_tall);
  const Index shortest = vectors.rows(), longest = is_tall ? a.rows() : a.cols();
  DistributedMatrix product(a.grid(), longest, k);
  if (a.grid()->has_this_rank()) {
    const int m = as_int(longest), n = as_int(k), inner = as_int(shortest), first = as_int(shortest - k + 1);
    pdgemm_(is_tall ? "N" : "T", "N", &m, &n, &inner, &unit, a.data(), &one, &one, a.descriptor(), vectors.data(), &one,
            &first, vectors.descriptor(), &zero, product.data(), &one, &one, product.descriptor());
  }
  const Matrix<double> x = vectors.gather(shortest - k, k), y = product.gather();
  std::vector<double> norms(static_cast<std::size_t>(k));
  for (Index i = 0; i < longest; ++i) {
    for (Index j = 0; j < k; ++j) norms[static_cast<std::size_t>(j)] += y(i, j) * y(i, j);
  }
  std::vector<Index> order(norms.size());
  std::iota(order.rbegin(), order.rend(), Index{0});
  std::ranges::stable_sort(order, std::greater{}, [&](Index j) { return norms[static_cast<std::size_t>(j)]; });
  Svd result;
  result.method = SvdMethod::gram;
  Matrix<double> short_vectors(shortest, k), long_vectors(longest, k);
  for (Index j = 0; j < k; ++j) {
    const Index from = order[static_cast<std::size_t>(j)];
    const double s = result.singular_values.emplace_back(std::sqrt(norms[static_cast<std::size_t>(from)]));
    for (Index i = 0; i < shortest; ++i) short_vectors(i, j) = x(i, from);
    for (Index i = 0; i < longest; ++i) long_vectors(i, j) = s > 0 ? y(i, from) / s : 0.0;
  }
  for (Index i = k; i < shortest; ++i) {
    const double s = std::sqrt(std::max(values[static_cast<std::size_t>(shortest - 1 - i)], 0.0));
    result.singular_values.push_back(std::min(s, result.singular_values.back()));
  }
  result.u = is_tall ? std::move(long_vectors) : std::move(short_vectors);
  result.vt = transposed(is_tall ? short_vectors : long_vectors);
  return result;
}

}  // namespace

Svd truncated_svd(const DistributedMatrix& a, Index k, SvdMethod method) {
  KRONLAB_EXPECTS(k >= 1 && k <= std::min(a.rows(), a.cols()), "{} singular triples of {} x {}", k, a.rows(), a.cols());
  KRONLAB_EXPECTS(method != SvdMethod::lanczos, "no Lanczos over ranks");
  keep_blas_single_threaded();
  return method == SvdMethod::direct ? direct_svd(a, k) : gram_svd(a, k);
}

}  // namespace kronlab::linalg
