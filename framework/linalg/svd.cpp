#include "framework/linalg/svd.hpp"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "framework/linalg/blas_threads.hpp"
#include "framework/linalg/block_lanczos.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::linalg {
namespace {

constexpr Index short_side = 64;             // up to here dgesdd costs nothing
constexpr Index lanczos_side = 512;          // below this the eigenproblem of the Gram matrix costs little, and
constexpr Index lanczos_aspect = 4;          // from this aspect on the Gram matrix is most of the work, at gemm speed
constexpr Index lanczos_share = 96;          // more triples need a basis that costs as much as all of them
constexpr double lanczos_tolerance = 1e-10;  // the vectors move by this over the relative gap: float32 does not see it

int as_int(Index value) { return checked_cast<int>(value); }

void expect_finite(ConstMatrixView<double> a, const char* what) {
  for (Index i = 0; i < a.rows; ++i) {
    for (const double value : a.row(i)) {
      if (!std::isfinite(value))
        throw DataError(fmt::format("{}: the matrix has a NaN or infinite element in row {}", what, i));
    }
  }
}

void expect_success(lapack_int info, const char* routine) {
  KRONLAB_EXPECTS(info >= 0, "{}: argument {} is illegal", routine, -info);
  if (info > 0) throw DataError(fmt::format("{} did not converge ({})", routine, info));
}

Matrix<double> copy_of(ConstMatrixView<double> a) { return to_matrix<double>(a); }

Matrix<double> first_rows(const Matrix<double>& a, Index rows) {
  Matrix<double> part(rows, a.cols());
  std::copy_n(a.data(), part.size(), part.data());
  return part;
}

Svd direct_svd(ConstMatrixView<double> a, Index k) {
  const Index m = a.rows, n = a.cols, p = std::min(m, n);
  keep_blas_single_threaded();
  Matrix<double> work = copy_of(a), u(m, p), vt(p, n);
  Svd result;
  result.singular_values.resize(static_cast<std::size_t>(p));
  expect_success(LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', as_int(m), as_int(n), work.data(), as_int(n),
                                result.singular_values.data(), u.data(), as_int(p), vt.data(), as_int(n)),
                 "dgesdd");
  result.u = Matrix<double>(m, k);
  convert(ConstTensorView(std::as_const(u).view()).block(0, 0, m, k), result.u.view());
  result.vt = first_rows(vt, k);
  return result;
}

/// The triples that belong to orthonormal rows V^T: s_i = |A v_i|, which is right to eps s_1 where the root of an
/// eigenvalue of A^T A is not, and u_i = A v_i / s_i.
Svd triples_of(ConstMatrixView<double> a, const Matrix<double>& vt) {
  const Index k = vt.rows();
  Matrix<double> av(a.rows, k);
  gemm(Transpose::no, a, Transpose::yes, vt.view(), 0.0, av.view());
  std::vector<double> norms(static_cast<std::size_t>(k));
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < k; ++j) norms[static_cast<std::size_t>(j)] += av(i, j) * av(i, j);
  }
  std::vector<Index> order(norms.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::ranges::stable_sort(order, std::greater{}, [&](Index j) { return norms[static_cast<std::size_t>(j)]; });
  Svd result{Matrix<double>(a.rows, k), {}, Matrix<double>(k, a.cols)};
  for (Index j = 0; j < k; ++j) {
    const Index from = order[static_cast<std::size_t>(j)];
    const double s = result.singular_values.emplace_back(std::sqrt(norms[static_cast<std::size_t>(from)]));
    std::ranges::copy(vt.row(from), result.vt.row(j).begin());
    for (Index i = 0; i < a.rows; ++i) result.u(i, j) = s > 0 ? av(i, from) / s : 0.0;
  }
  return result;
}

/// Eigenvectors of A^T A are V.
Svd gram_svd(ConstMatrixView<double> a, Index k) {
  const Index n = a.cols;
  Matrix<double> g(n, n);
  gram(a, g);
  const auto eigen = symmetric_eigen(g);
  Matrix<double> vt(k, n);
  for (Index i = 0; i < k; ++i) std::ranges::copy(eigen.vectors.row(n - 1 - i), vt.row(i).begin());
  Svd result = triples_of(a, vt);
  for (Index i = k; i < n; ++i) {  // descending through the noise too
    const double s = std::sqrt(std::max(eigen.values[static_cast<std::size_t>(n - 1 - i)], 0.0));
    result.singular_values.push_back(std::min(s, result.singular_values.back()));
  }
  result.method = SvdMethod::gram;
  return result;
}

/// A: [m, n], m >= n.
Svd tall_svd(ConstMatrixView<double> a, Index k) {
  if (a.cols >= lanczos_side && a.rows < lanczos_aspect * a.cols && k * lanczos_share <= a.cols) {
    if (const auto leading = block_lanczos(a, k, a.cols / 4, lanczos_tolerance)) {
      Svd result = triples_of(a, leading->vt);
      result.method = SvdMethod::lanczos;
      result.num_iterations = leading->num_iterations;
      result.residual = leading->residual;
      return result;
    }
  }
  return gram_svd(a, k);
}

Matrix<double> transposed(ConstMatrixView<double> a) {
  Matrix<double> t(a.cols, a.rows);
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.cols; ++j) t(j, i) = a(i, j);
  }
  return t;
}

}  // namespace

Svd truncated_svd(ConstMatrixView<double> a, Index k) {
  KRONLAB_EXPECTS(k >= 1 && k <= std::min(a.rows, a.cols), "{} singular triples of {} x {}", k, a.rows, a.cols);
  expect_finite(a, "svd");
  const Index longest = std::max(a.rows, a.cols), shortest = std::min(a.rows, a.cols);
  if (shortest <= short_side && longest <= 4 * shortest) return direct_svd(a, k);
  if (a.rows >= a.cols) return tall_svd(a, k);
  const Matrix<double> t = transposed(a);
  Svd flipped = tall_svd(t, k);
  std::swap(flipped.u, flipped.vt);
  flipped.u = transposed(flipped.u);
  flipped.vt = transposed(flipped.vt);
  return flipped;
}

SymmetricEigen symmetric_eigen(ConstMatrixView<double> g) {
  KRONLAB_EXPECTS(g.rows == g.cols && g.rows > 0, "eigenvalues of {} x {}", g.rows, g.cols);
  expect_finite(g, "symmetric_eigen");
  keep_blas_single_threaded();
  SymmetricEigen result{std::vector<double>(static_cast<std::size_t>(g.rows)), copy_of(g)};
  // Column-major LAPACK sees the transpose of a symmetric matrix: the eigenvectors come out as rows.
  expect_success(LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', as_int(g.rows), result.vectors.data(), as_int(g.rows),
                                result.values.data()),
                 "dsyevd");
  return result;
}

Matrix<double> damped_cholesky(ConstMatrixView<double> c, double damping) {
  KRONLAB_EXPECTS(c.rows == c.cols && c.rows > 0 && damping >= 0, "Cholesky of {} x {} with damping {}", c.rows, c.cols,
                  damping);
  expect_finite(c, "cholesky");
  keep_blas_single_threaded();
  Matrix<double> l = copy_of(c);
  double mean = 0;
  for (Index i = 0; i < c.rows; ++i) mean += c(i, i) / static_cast<double>(c.rows);
  for (Index i = 0; i < c.rows; ++i) l(i, i) += damping * mean;
  const auto info = LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', as_int(c.rows), l.data(), as_int(c.rows));
  KRONLAB_EXPECTS(info >= 0, "dpotrf: argument {} is illegal", -info);
  if (info > 0) {
    throw DataError(
        fmt::format("second moments of {} values are not positive definite with damping {} (minor {}): gather more "
                    "tokens or damp more",
                    c.rows, damping, info));
  }
  for (Index i = 0; i < l.rows(); ++i) std::fill(l.row(i).begin() + i + 1, l.row(i).end(), 0.0);
  return l;
}

void solve_right_lower(ConstMatrixView<double> l, MatrixView<double> b) {
  KRONLAB_EXPECTS(l.rows == l.cols && b.cols == l.rows, "solve with {} x {} for {} columns", l.rows, l.cols, b.cols);
  keep_blas_single_threaded();
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, as_int(b.rows), as_int(b.cols), 1.0,
              l.data, as_int(l.stride), b.data, as_int(b.stride));
}

void solve_left_transposed_lower(ConstMatrixView<double> l, MatrixView<double> b) {
  KRONLAB_EXPECTS(l.rows == l.cols && b.rows == l.rows, "solve with {} x {} for {} rows", l.rows, l.cols, b.rows);
  keep_blas_single_threaded();
  cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, as_int(b.rows), as_int(b.cols), 1.0,
              l.data, as_int(l.stride), b.data, as_int(b.stride));
}

void solve_right_positive(Matrix<double>& n, Matrix<double>& b) {
  KRONLAB_EXPECTS(n.rows() == n.cols() && b.cols() == n.rows(), "solve with {} x {} for {} columns", n.rows(), n.cols(), b.cols());
  expect_finite(n.view(), "solve");
  expect_finite(b.view(), "solve");
  keep_blas_single_threaded();
  // Row-major B is column-major B^T, and N B^T's solution is X^T.
  const auto info = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', as_int(n.rows()), as_int(b.rows()), n.data(), as_int(n.rows()), b.data(), as_int(b.cols()));
  KRONLAB_EXPECTS(info >= 0, "dposv: argument {} is illegal", -info);
  if (info > 0) throw DataError(fmt::format("normal equations of {} unknowns are not positive definite (minor {})", n.rows(), info));
}

}  // namespace kronlab::linalg
