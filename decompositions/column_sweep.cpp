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
  MatrixView<double> weights;      ///< [out, width]
  ConstMatrixView<double> factor;  ///< R of these columns
  Matrix<double> inverse;          ///< U of these columns
  Index first = 0;                 ///< the first of them
};

/// W - W^ of columns that are settled: [out, in]. In float32, which moves the weights to come by some 1e-6 of
/// themselves and the error by the square of that.
class Settled {
 public:
  Settled(Index rows, Index cols) : moved_(Tensor::uninitialised(DType::f32, {rows, cols})) {}

  void add(const Panel& panel, Matrix<double>& weight) {
    const auto moved = moved_.matrix<float>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < weight.rows(); ++i) {
      const auto was = weight.row(i).subspan(static_cast<std::size_t>(panel.first));
      for (Index j = 0; j < panel.weights.cols; ++j) {
        moved(i, panel.first + j) = static_cast<float>(was[static_cast<std::size_t>(j)] - panel.weights(i, j));
        was[static_cast<std::size_t>(j)] = panel.weights(i, j);
      }
    }
  }

  /// What they ask of a panel: its weights += (W - W^) R_(before, panel) U.  factor: R
  void move(Panel& panel, const Matrix<double>& factor) const {
    const Index width = panel.weights.cols;
    const auto before = to_matrix<float>(factor.view().block(0, panel.first, panel.first, width));
    const auto moved = moved_.matrix<float>();
    constexpr Index strip = 128;  // rows of a product of one thread: fixed, so their number does not enter the result
#pragma omp parallel for schedule(dynamic)
    for (Index row = 0; row < moved.rows; row += strip) {
      const Index rows = std::min(strip, moved.rows - row);
      Matrix<float> product(rows, width);
      linalg::gemm(Transpose::no, moved.block(row, 0, rows, panel.first), Transpose::no, before.view(), 0.0,
                   product.view());
      const auto asked = to_matrix<double>(std::as_const(product).view());
      linalg::gemm(Transpose::no, asked.view(), Transpose::no, std::as_const(panel.inverse).view(), 1.0,
                   panel.weights.block(row, 0, rows, width));
    }
  }

 private:
  Tensor moved_;
};

/// Settles the columns begin .. begin + width of a panel, and moves the rest of it.  errors: adds |e|^2 of each row
void settle_leaf(ColumnPolicy& policy, Panel& panel, Index begin, Index width, std::vector<double>& errors) {
  const Index rows = panel.weights.rows, rest = panel.weights.cols - begin - width;
  policy.enter(panel.first + begin, panel.weights.block(0, begin, rows, width));
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
               panel.weights.block(0, begin + width, rows, rest));
}

}  // namespace

void expect_tokens(const std::string& layer, const Matrix<double>& c) {
  if (mean_diagonal(c) > 0) return;
  throw DataError(fmt::format(
      "layer `{}`: all second moments of its inputs are 0: no token of the calibration text reached it", layer));
}

double sweep_cost(Index rows, Index cols) {
  const auto out = static_cast<double>(rows), in = static_cast<double>(cols);
  return in * in * in / 6 + out * in * (in / 2 + 128);
}

SweepMoments sweep_moments(const std::string& layer, const Matrix<double>& c, double damping, ColumnOrder order) {
  const Index n = c.rows();
  const double mean = mean_diagonal(c);
  expect_tokens(layer, c);
  SweepMoments result;
  if (order == ColumnOrder::by_activation) {
    result.order.resize(static_cast<std::size_t>(n));
    std::iota(result.order.begin(), result.order.end(), Index{0});
    std::ranges::stable_sort(result.order, std::greater{}, [&](Index j) { return c(j, j); });
  }
  Matrix<double> h(n, n);
  const auto from = [&](Index j) { return result.order.empty() ? j : result.order[static_cast<std::size_t>(j)]; };
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) h(i, j) = c(from(i), from(j));
  }
  for (Index i = 0; i < n; ++i) {
    const bool is_dead = h(i, i) == 0.0;
    if (is_dead) result.dead.push_back(from(i));
    h(i, i) = is_dead ? 1.0 : h(i, i) + damping * mean;
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
  Settled settled(rows, cols);
  std::vector<double> errors(static_cast<std::size_t>(rows));
  Matrix<double> buffer(rows, std::min(policy.panel(), cols));
  for (Index first = 0; first < cols; first += policy.panel()) {
    const Index width = std::min(policy.panel(), cols - first);
    const auto own = factor.view().block(first, first, width, width);
    Panel panel{buffer.view().block(0, 0, rows, width), own, linalg::inverse_of_upper(own), first};
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < rows; ++i) std::copy_n(&weight(i, first), width, panel.weights.row(i).begin());
    if (first > 0) settled.move(panel, factor);
    for (Index begin = 0; begin < width; begin += policy.leaf())
      settle_leaf(policy, panel, begin, std::min(policy.leaf(), width - begin), errors);
    settled.add(panel, weight);
  }
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

}  // namespace kronlab::decompositions
