#include "framework/linalg/upper_factor.hpp"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/linalg/blas_threads.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::linalg {
namespace {

/// Columns that are factored at once: the diagonal block without gemm().
constexpr Index block = 128;

double dot(const double* a, const double* b, Index n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index k = 0; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

/// The factor of a small matrix, in place. first: where it lies in the whole one
void factor_diagonal_block(MatrixView<double> h, Index first) {
  for (Index j = h.rows - 1; j >= 0; --j) {
    const Index behind = h.rows - 1 - j;
    const double* row = &h(j, 0) + j + 1;
    const double pivot = h(j, j) - dot(row, row, behind);
    if (!(pivot > 0) || !std::isfinite(pivot)) {
      throw DataError(fmt::format("a matrix is not positive definite: the pivot of row {} is {}, expected more than 0",
                                  first + j, pivot));
    }
    h(j, j) = std::sqrt(pivot);
    for (Index i = 0; i < j; ++i) h(i, j) = (h(i, j) - dot(&h(i, 0) + j + 1, row, behind)) / h(j, j);
    for (Index i = j + 1; i < h.rows; ++i) h(i, j) = 0;
  }
}

}  // namespace

Matrix<double> upper_factor(Matrix<double> h) {
  const Index n = h.rows();
  KRONLAB_EXPECTS(h.cols() == n && n > 0, "factor of {} x {}", h.rows(), h.cols());
  for (Index last = n; last > 0;) {
    const Index first = (last - 1) / block * block, width = last - first;
    // H_(0:last, b) - R_(0:last, behind) R_(b, behind)^T
    Matrix<double> panel(last, width);
    const auto factored = std::as_const(h).view().block(0, last, last, n - last);
    if (last < n)
      gemm(Transpose::no, factored, Transpose::yes, factored.block(first, 0, width, n - last), 0.0, panel.view());
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < last; ++i) {
      for (Index j = 0; j < width; ++j) panel(i, j) = h(i, first + j) - panel(i, j);
    }
    const auto diagonal = panel.view().block(first, 0, width, width);
    factor_diagonal_block(diagonal, first);
    for (Index i = 0; i < width; ++i) std::ranges::copy(diagonal.row(i), &h(first + i, first));
    for (Index i = last; i < n; ++i) std::fill_n(&h(i, first), width, 0.0);
    const auto inverse = inverse_of_upper(diagonal);
    if (first > 0) {
      gemm(Transpose::no, std::as_const(panel).view().block(0, 0, first, width), Transpose::yes, inverse.view(), 0.0,
           h.view().block(0, first, first, width));
    }
    last = first;
  }
  return h;
}

Matrix<double> inverse_of_upper(ConstMatrixView<double> r) {
  KRONLAB_EXPECTS(r.rows == r.cols, "inverse of {} x {}", r.rows, r.cols);
  keep_blas_single_threaded();
  Matrix<double> inverse(r.rows, r.cols);
  for (Index i = 0; i < r.rows; ++i) std::ranges::copy(r.row(i), inverse.row(i).begin());
  const int n = checked_cast<int>(r.rows);
  // What is lower for column-major LAPACK is upper here.
  const auto info = LAPACKE_dtrtri(LAPACK_COL_MAJOR, 'L', 'N', n, inverse.data(), n);
  KRONLAB_EXPECTS(info == 0, "dtrtri of {} x {} ended with {}", n, n, info);
  return inverse;
}

}  // namespace kronlab::linalg
