#include "decompositions/column_sweep.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "decompositions/moment_scales.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/upper_factor.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Transpose;

/// A panel of columns while it is settled.
struct Panel {
  Matrix<double> weights;          ///< [out, width]
  Matrix<double> inverse;          ///< U of these columns
  ConstMatrixView<double> factor;  ///< R of these columns
  Index first = 0;                 ///< its first column
};

/// Settles the columns begin .. begin + width of a panel, and moves the rest of it.  errors: adds |e|^2 of each row
void settle_leaf(ColumnPolicy& policy, Panel& panel, Index begin, Index width, std::vector<double>& errors) {
  const Index rows = panel.weights.rows(), rest = panel.weights.cols() - begin - width;
  policy.enter(panel.first + begin, std::as_const(panel.weights).view().block(0, begin, rows, width));
  Matrix<double> steps(rows, rest > 0 ? width : 0);  // -e
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < rows; ++i) {
    const auto row = panel.weights.row(i).subspan(static_cast<std::size_t>(begin));
    double squares = 0;
    for (Index j = 0; j < width; ++j) {
      const double settled = policy.settle(i, panel.first + begin + j, row.subspan(static_cast<std::size_t>(j)));
      const double error = (row[static_cast<std::size_t>(j)] - settled) * panel.factor(begin + j, begin + j);
      row[static_cast<std::size_t>(j)] = settled;
      squares += error * error;
      if (rest > 0) steps(i, j) = -error;
      if (error == 0.0) continue;
      const double* u = &panel.inverse(begin + j, begin);
      double* w = row.data();
#pragma omp simd
      for (Index k = j + 1; k < width; ++k) w[k] -= error * u[k];
    }
    errors[static_cast<std::size_t>(i)] += squares;
  }
  if (rest == 0) return;
  linalg::gemm(Transpose::no, std::as_const(steps).view(), Transpose::no,
               std::as_const(panel.inverse).view().block(begin, begin + width, width, rest), 1.0,
               panel.weights.view().block(0, begin + width, rows, rest));
}

}  // namespace

SweepMoments sweep_moments(const std::string& layer, const Matrix<double>& c, double damping, ColumnOrder order) {
  const Index n = c.rows();
  const double mean = mean_diagonal(c);
  if (!(mean > 0)) {
    throw DataError(fmt::format(
        "layer `{}`: all second moments of its inputs are 0: no token of the calibration text reached it", layer));
  }
  SweepMoments result;
  if (order == ColumnOrder::by_activation) {
    result.order.resize(static_cast<std::size_t>(n));
    std::iota(result.order.begin(), result.order.end(), Index{0});
    std::ranges::stable_sort(result.order, std::greater{}, [&](Index j) { return c(j, j); });
  }
  Matrix<double> h(n, n);
  for (Index i = 0; i < n; ++i) {
    const Index from = result.order.empty() ? i : result.order[static_cast<std::size_t>(i)];
    for (Index j = 0; j < n; ++j)
      h(i, j) = c(from, result.order.empty() ? j : result.order[static_cast<std::size_t>(j)]);
    if (h(i, i) == 0.0) {
      result.dead.push_back(from);
      h(i, i) = 1.0;
    } else {
      h(i, i) += damping * mean;
    }
  }
  std::ranges::sort(result.dead);
  try {
    result.factor = linalg::upper_factor(std::move(h));
  } catch (const DataError& error) {
    throw DataError(
        fmt::format("layer `{}`: second moments of its inputs with damping {}: {}; gather more tokens or damp more",
                    layer, damping, error.what()));
  }
  return result;
}

Matrix<double> with_columns_ordered(const Matrix<double>& weight, const std::vector<Index>& order) {
  if (order.empty()) return weight;
  Matrix<double> result(weight.rows(), weight.cols());
  for (Index i = 0; i < weight.rows(); ++i) {
    for (Index j = 0; j < weight.cols(); ++j) result(i, j) = weight(i, order[static_cast<std::size_t>(j)]);
  }
  return result;
}

Matrix<double> with_columns_restored(const Matrix<double>& weight, const std::vector<Index>& order) {
  if (order.empty()) return weight;
  Matrix<double> result(weight.rows(), weight.cols());
  for (Index i = 0; i < weight.rows(); ++i) {
    for (Index j = 0; j < weight.cols(); ++j) result(i, order[static_cast<std::size_t>(j)]) = weight(i, j);
  }
  return result;
}

double sweep_columns(const Matrix<double>& factor, ColumnPolicy& policy, Matrix<double>& weight) {
  const Index rows = weight.rows(), cols = weight.cols();
  KRONLAB_EXPECTS(factor.rows() == cols && factor.cols() == cols, "sweep over {} columns with a factor [{}, {}]", cols,
                  factor.rows(), factor.cols());
  KRONLAB_EXPECTS(policy.panel() > 0 && policy.leaf() > 0, "panels of {} columns, leaves of {}", policy.panel(),
                  policy.leaf());
  policy.start(weight);
  Matrix<double> moved(rows, cols);  // W - W^ of the columns that are settled
  std::vector<double> errors(static_cast<std::size_t>(rows));
  for (Index first = 0; first < cols; first += policy.panel()) {
    const Index width = std::min(policy.panel(), cols - first);
    Panel panel;
    panel.first = first;
    panel.factor = factor.view().block(first, first, width, width);
    panel.inverse = linalg::inverse_of_upper(panel.factor);
    panel.weights = to_matrix<double>(std::as_const(weight).view().block(0, first, rows, width));
    if (first > 0) {
      Matrix<double> asked(rows, width);
      linalg::gemm(Transpose::no, std::as_const(moved).view().block(0, 0, rows, first), Transpose::no,
                   factor.view().block(0, first, first, width), 0.0, asked.view());
      linalg::gemm(Transpose::no, std::as_const(asked).view(), Transpose::no, std::as_const(panel.inverse).view(), 1.0,
                   panel.weights.view());
    }
    for (Index begin = 0; begin < width; begin += policy.leaf())
      settle_leaf(policy, panel, begin, std::min(policy.leaf(), width - begin), errors);
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < width; ++j) {
        moved(i, first + j) = weight(i, first + j) - panel.weights(i, j);
        weight(i, first + j) = panel.weights(i, j);
      }
    }
  }
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

}  // namespace kronlab::decompositions
