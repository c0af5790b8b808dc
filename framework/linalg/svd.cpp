#include "framework/linalg/svd.hpp"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/linalg/gemm.hpp"

namespace kronlab::linalg {
namespace {

constexpr Index short_side = 64;

int as_int(Index value) { return checked_cast<int>(value); }

void expect_finite(ConstMatrixView<double> a, const char* what) {
  for (Index i = 0; i < a.rows; ++i) {
    for (const double value : a.row(i)) {
      if (!std::isfinite(value)) throw DataError(fmt::format("{}: the matrix has a NaN or infinite element in row {}", what, i));
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
  Matrix<double> work = copy_of(a), u(m, p), vt(p, n);
  Svd result;
  result.singular_values.resize(static_cast<std::size_t>(p));
  expect_success(LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', as_int(m), as_int(n), work.data(), as_int(n), result.singular_values.data(),
                                u.data(), as_int(p), vt.data(), as_int(n)),
                 "dgesdd");
  result.u = Matrix<double>(m, k);
  convert(ConstTensorView(std::as_const(u).view()).block(0, 0, m, k), result.u.view());
  result.vt = first_rows(vt, k);
  return result;
}

/// Eigenvectors of A^T A (n <= short_side) are V; U = A V / s, orthonormal to rounding for the triples that matter.
Svd tall_svd(ConstMatrixView<double> a, Index k) {
  const Index n = a.cols;
  Matrix<double> g(n, n);
  gram(a, g);
  const auto eigen = symmetric_eigen(g);
  Svd result;
  result.vt = Matrix<double>(k, n);
  for (Index i = 0; i < n; ++i) {
    result.singular_values.push_back(std::sqrt(std::max(eigen.values[static_cast<std::size_t>(n - 1 - i)], 0.0)));
    if (i < k) std::ranges::copy(eigen.vectors.row(n - 1 - i), result.vt.row(i).begin());
  }
  result.u = Matrix<double>(a.rows, k);
  gemm(Transpose::no, a, Transpose::yes, std::as_const(result.vt).view(), 0.0, result.u.view());
  for (Index j = 0; j < k; ++j) {
    const double s = result.singular_values[static_cast<std::size_t>(j)];
    for (Index i = 0; i < a.rows; ++i) result.u(i, j) = s > 0 ? result.u(i, j) / s : 0.0;
  }
  return result;
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
  if (a.cols <= short_side && a.rows > 4 * a.cols) return tall_svd(a, k);
  if (a.rows <= short_side && a.cols > 4 * a.rows) {
    const Matrix<double> t = transposed(a);
    Svd flipped = tall_svd(t, k);
    return {transposed(flipped.vt), std::move(flipped.singular_values), transposed(flipped.u)};
  }
  return direct_svd(a, k);
}

SymmetricEigen symmetric_eigen(ConstMatrixView<double> g) {
  KRONLAB_EXPECTS(g.rows == g.cols && g.rows > 0, "eigenvalues of {} x {}", g.rows, g.cols);
  expect_finite(g, "symmetric_eigen");
  SymmetricEigen result{std::vector<double>(static_cast<std::size_t>(g.rows)), copy_of(g)};
  // Column-major LAPACK sees the transpose of a symmetric matrix: the eigenvectors come out as rows.
  expect_success(LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', as_int(g.rows), result.vectors.data(), as_int(g.rows), result.values.data()), "dsyevd");
  return result;
}

Matrix<double> damped_cholesky(ConstMatrixView<double> c, double damping) {
  KRONLAB_EXPECTS(c.rows == c.cols && c.rows > 0 && damping >= 0, "Cholesky of {} x {} with damping {}", c.rows, c.cols, damping);
  expect_finite(c, "cholesky");
  Matrix<double> l = copy_of(c);
  double mean = 0;
  for (Index i = 0; i < c.rows; ++i) mean += c(i, i) / static_cast<double>(c.rows);
  for (Index i = 0; i < c.rows; ++i) l(i, i) += damping * mean;
  const auto info = LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', as_int(c.rows), l.data(), as_int(c.rows));
  KRONLAB_EXPECTS(info >= 0, "dpotrf: argument {} is illegal", -info);
  if (info > 0) {
    throw DataError(fmt::format("second moments of {} inputs are not positive definite with damping {} (minor {}): gather more tokens or damp more",
                                c.rows, damping, info));
  }
  for (Index i = 0; i < l.rows(); ++i) std::fill(l.row(i).begin() + i + 1, l.row(i).end(), 0.0);
  return l;
}

void solve_right_lower(ConstMatrixView<double> l, MatrixView<double> b) {
  KRONLAB_EXPECTS(l.rows == l.cols && b.cols == l.rows, "solve with {} x {} for {} columns", l.rows, l.cols, b.cols);
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, as_int(b.rows), as_int(b.cols), 1.0, l.data,
              as_int(l.stride), b.data, as_int(b.stride));
}

}  // namespace kronlab::linalg
