#include "decompositions/site_whitening.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/kernels/tensor_axes.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

/// M_k[j, j'] = Σ over the indices of other sites, equal on both sides. before, behind: numbers of those
Matrix<double> partial_trace(const Matrix<double>& moments, Index before, Index factor, Index behind) {
  Matrix<double> result(factor, factor);
  for (Index a = 0; a < before; ++a) {
    for (Index j = 0; j < factor; ++j) {
      for (Index i = 0; i < factor; ++i) {
        if (moments.rows() == 1 && i != j) continue;
        for (Index c = 0; c < behind; ++c) {
          const Index row = (a * factor + j) * behind + c, col = (a * factor + i) * behind + c;
          result(j, i) += moments(moments.rows() == 1 ? 0 : row, col);
        }
      }
    }
  }
  return result;
}

/// A view with rows of another length.
template <class T>
MatrixView<T> reshaped(MatrixView<T> a, Index rows) {
  return {a.data, rows, a.rows * a.cols / rows};
}

/// body on `values`: [outer, extent, run] with its middle axis last, as [outer run, extent].
template <class Body>
void with_axis_last(Matrix<double>& values, Index outer, Index extent, Index run, Body body) {
  if (run == 1) {
    Matrix<double> last(outer, extent);
    std::copy_n(values.data(), values.size(), last.data());
    body(last);
    std::copy_n(last.data(), values.size(), values.data());
    return;
  }
  Matrix<double> last(outer * run, extent);
  kernels::swap_axes({extent, run, 1}, reshaped(std::as_const(values).view(), outer), reshaped(last.view(), outer));
  body(last);
  kernels::swap_axes({run, extent, 1}, reshaped(std::as_const(last).view(), outer), reshaped(values.view(), outer));
}

}  // namespace

SiteRoots::SiteRoots(const Matrix<double>& moments, const std::vector<Index>& factors, double damping, const std::string& whose)
    : factors_(factors) {
  double trace = 0;
  for (Index j = 0; j < moments.cols(); ++j) trace += moments(moments.rows() == 1 ? 0 : j, j);
  Index before = 1, behind = moments.cols();
  for (const Index factor : factors) {
    behind /= factor;
    auto part = partial_trace(moments, before, factor, behind);
    before *= factor;
    // All but the first with a trace of their extent: the product has the trace of M.
    const double scale = trace > 0 ? (lower_.empty() ? static_cast<double>(factor) / static_cast<double>(moments.cols()) : static_cast<double>(factor) / trace) : 1.0;
    for (Index i = 0; i < part.size(); ++i) part.data()[i] *= scale;
    try {
      lower_.push_back(linalg::damped_cholesky(part, damping));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: {}", whose, error.what()));
    }
  }
}

void SiteRoots::apply_right(Matrix<double>& a) const {
  Index before = a.rows(), behind = a.cols();
  for (std::size_t k = 0; k < factors_.size(); ++k) {
    behind /= factors_[k];
    with_axis_last(a, before, factors_[k], behind, [&](Matrix<double>& last) {
      Matrix<double> product(last.rows(), last.cols());
      linalg::gemm(linalg::Transpose::no, std::as_const(last).view(), linalg::Transpose::no, lower_[k].view(), 0.0, product.view());
      last = std::move(product);
    });
    before *= factors_[k];
  }
}

void SiteRoots::solve(std::size_t site, Index outer, Index run, Matrix<double>& core) const {
  with_axis_last(core, outer, factors_[site], run, [&](Matrix<double>& last) { linalg::solve_right_lower(lower_[site], last); });
}

}  // namespace kronlab::decompositions
