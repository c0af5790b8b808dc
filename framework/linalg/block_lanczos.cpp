#include "framework/linalg/block_lanczos.hpp"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "framework/base/random.hpp"
#include "framework/linalg/blas_threads.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::linalg {
namespace {

using enum Transpose;

int as_int(Index value) { return checked_cast<int>(value); }

double column_norm(ConstMatrixView<double> a, Index j) {
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) sum += a(i, j) * a(i, j);
  return std::sqrt(sum);
}

/// The span of the columns of Z by Householder QR with pivoting; directions whose size is at most `noise` are dropped.
Matrix<double> orthonormal_columns(Matrix<double> z, double noise) {
  keep_blas_single_threaded();
  const Index n = z.rows(), b = z.cols();
  std::vector<lapack_int> pivots(static_cast<std::size_t>(b), 0);
  std::vector<double> tau(pivots.size());
  LAPACKE_dgeqp3(LAPACK_ROW_MAJOR, as_int(n), as_int(b), z.data(), as_int(b), pivots.data(), tau.data());
  Index rank = 0;
  while (rank < b && std::abs(z(rank, rank)) > noise) ++rank;
  if (rank == 0) return {n, 0};
  LAPACKE_dorgqr(LAPACK_ROW_MAJOR, as_int(n), as_int(rank), as_int(rank), z.data(), as_int(b), tau.data());
  return to_matrix<double>(ConstTensorView(std::as_const(z).view()).block(0, 0, n, rank));
}

/// The basis Q: [n, size] with A Q: [m, size] and the projected matrix (A Q)^T A Q.
class KrylovSpace {
 public:
  KrylovSpace(ConstMatrixView<double> a, Index capacity)
      : a_(a), basis_(a.cols, capacity), image_(a.rows, capacity), projected_(capacity, capacity) {}

  Index size() const { return size_; }
  Index width() const { return width_; }

  /// Adds orthonormal columns that are orthogonal to the basis.
  void append(const Matrix<double>& block) {
    const Index first = size_;
    size_ += width_ = block.cols();
    convert(block.view(), TensorView(basis_.view().block(0, first, basis_.rows(), width_)));
    const auto image = image_.view().block(0, first, image_.rows(), width_);
    gemm(no, a_, no, block.view(), 0.0, image);
    const auto cross = projected_.view().block(0, first, size_, width_);
    gemm(yes, images(), no, image, 0.0, cross);
    for (Index i = 0; i < size_; ++i) {
      for (Index j = first; j < size_; ++j) projected_(j, i) = projected_(i, j);
    }
  }

  /// A^T A times the newest columns, less its part in the basis.
  Matrix<double> remainder() const {
    Matrix<double> z(a_.cols, width_);
    gemm(yes, a_, no, images().block(0, size_ - width_, a_.rows, width_), 0.0, z.view());
    project_out(z);
    return z;
  }

  /// Z less its part in the basis: twice is enough.
  void project_out(Matrix<double>& z) const {
    for (int pass = 0; pass < 2; ++pass) {
      Matrix<double> part(size_, z.cols());
      gemm(yes, vectors(), no, std::as_const(z).view(), 0.0, part.view());
      for (Index i = 0; i < part.size(); ++i) part.data()[i] = -part.data()[i];
      gemm(no, vectors(), no, std::as_const(part).view(), 1.0, z.view());
    }
  }

  ConstMatrixView<double> vectors() const { return basis_.view().block(0, 0, basis_.rows(), size_); }
  ConstMatrixView<double> projected() const { return projected_.view().block(0, 0, size_, size_); }

 private:
  ConstMatrixView<double> images() const { return image_.view().block(0, 0, image_.rows(), size_); }

  ConstMatrixView<double> a_;
  Matrix<double> basis_, image_, projected_;
  Index size_ = 0, width_ = 0;
};

}  // namespace

std::optional<LeadingVectors> block_lanczos(ConstMatrixView<double> a, Index k, Index max_basis, double tolerance) {
  const Index n = a.cols, block = k + 2;
  KRONLAB_EXPECTS(k >= 1 && block <= n, "{} leading vectors of {}", k, n);
  max_basis = std::min(max_basis, n);
  if (block > max_basis) return std::nullopt;
  KrylovSpace space(a, max_basis);
  RandomStream random = RandomStream(0).child("linalg/block_lanczos");
  Matrix<double> start(n, block);
  for (Index i = 0; i < start.size(); ++i) start.data()[i] = random.normal();
  space.append(orthonormal_columns(std::move(start), 0.0));
  for (Index iteration = 1, next_check = 0;; ++iteration) {
    Matrix<double> z = space.remainder();
    const double scale = [&] {  // the largest entry on the diagonal of A^T A in the basis: at most s_1^2
      double largest = 0;
      for (Index i = 0; i < space.size(); ++i) largest = std::max(largest, space.projected()(i, i));
      return largest;
    }();
    const double noise = static_cast<double>(n) * std::numeric_limits<double>::epsilon() * scale;
    Matrix<double> fresh = orthonormal_columns(z, noise);
    if (fresh.cols() > 0) {  // small columns, scaled up, have lost orthogonality to the basis
      space.project_out(fresh);
      fresh = orthonormal_columns(std::move(fresh), 0.5);
    }
    const bool is_exhausted = fresh.cols() == 0, is_full = space.size() + fresh.cols() > max_basis;
    if (space.size() >= next_check || is_exhausted || is_full) {
      next_check = space.size() + std::max(block, space.size() / 4);  // so that all checks cost as much as the last few
      const auto ritz = symmetric_eigen(space.projected());
      const Index q = space.size(), width = space.width();
      Matrix<double> leading(k, q);
      for (Index t = 0; t < k; ++t) std::ranges::copy(ritz.vectors.row(q - 1 - t), leading.row(t).begin());
      Matrix<double> residuals(n, k);
      gemm(no, std::as_const(z).view(), yes, std::as_const(leading).view().block(0, q - width, k, width), 0.0,
           residuals.view());
      double residual = 0;
      for (Index t = 0; t < k; ++t) residual = std::max(residual, column_norm(std::as_const(residuals).view(), t));
      const double largest = std::max(ritz.values.back(), 0.0);
      if (is_exhausted || residual <= tolerance * largest) {
        LeadingVectors result{Matrix<double>(k, n), iteration, largest > 0 ? residual / largest : 0.0};
        gemm(no, std::as_const(leading).view(), yes, space.vectors(), 0.0, result.vt.view());
        return result;
      }
    }
    if (is_full) return std::nullopt;
    space.append(fresh);
  }
}

}  // namespace kronlab::linalg
