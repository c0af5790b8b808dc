#include "decompositions/decomposer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "framework/linalg/gemm.hpp"

namespace kronlab::decompositions {
namespace {

double squared_norm(ConstMatrixView<double> a) {
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) {
    for (const double value : a.row(i)) sum += value * value;
  }
  return sum;
}

/// tr(A C A^T).
double weighted_norm(ConstMatrixView<double> a, const Matrix<double>& c) {
  Matrix<double> product(a.rows, a.cols);
  linalg::gemm(linalg::Transpose::no, a, linalg::Transpose::no, c.view(), 0.0, product.view());
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.cols; ++j) sum += a(i, j) * product(i, j);
  }
  return sum;
}

double relative(double error, double norm) { return norm > 0 ? std::sqrt(std::max(error, 0.0) / norm) : 0.0; }

/// first_row: where these rows begin in the weight.
void expect_finite(const std::string& layer, const Matrix<double>& weight, Index first_row = 0) {
  for (Index i = 0; i < weight.rows(); ++i) {
    for (Index j = 0; j < weight.cols(); ++j) {
      if (!std::isfinite(weight(i, j))) {
        throw DataError(fmt::format("layer `{}`: weight [{}, {}] is {}, expected a finite number", layer, first_row + i,
                                    j, weight(i, j)));
      }
    }
  }
}

Matrix<double> difference_of(const Matrix<double>& a, ConstTensorView b) {
  auto difference = to_matrix<double>(b);
  for (Index i = 0; i < a.size(); ++i) difference.data()[i] = a.data()[i] - difference.data()[i];
  return difference;
}

}  // namespace

std::string_view to_string(Convergence::Reason reason) {
  switch (reason) {
    case Convergence::Reason::exact:
      return "exact";
    case Convergence::Reason::converged:
      return "converged";
    case Convergence::Reason::max_iterations:
      return "max_iterations";
    case Convergence::Reason::time_limit:
      return "time_limit";
  }
  return "?";
}

Convergence convergence_of(const linalg::Svd& svd) {
  if (svd.num_iterations == 0) return {};
  return {Convergence::Reason::converged, svd.num_iterations, svd.residual};
}

std::map<std::string, FactorShape> Decomposer::factor_shapes(const std::string&, Index, Index) const { return {}; }

std::optional<GroupingProblem> Decomposer::grouping_problem(const std::string&, Index, Index) const {
  return std::nullopt;
}

void Decomposer::expect_moments(const std::string& layer, Index rows, Index cols, const LayerStatistics& statistics) const {
  const bool has_moments = statistics.input_moments.size() > 0;
  if (needs_input_moments() && !has_moments) {
    throw DataError(fmt::format("layer `{}`: '{}' needs second moments of the layer's inputs: give calibration data",
                                layer, kind()));
  }
  KRONLAB_EXPECTS(!has_moments || statistics.input_moments.rows() == cols,
                  "moments of {} inputs for a weight of {} columns", statistics.input_moments.rows(), cols);
  const auto& s = statistics.gradient_moments;
  if (needed_gradient_moments() != GradientMoments::none && s.size() == 0) {
    throw DataError(fmt::format("layer `{}`: '{}' needs second moments of the loss gradient in the layer's outputs: give calibration data", layer, kind()));
  }
  const bool is_full = s.rows() == rows && s.cols() == rows, is_diagonal = s.rows() == 1 && s.cols() == rows;
  KRONLAB_EXPECTS(s.size() == 0 || is_full || is_diagonal, "gradient moments [{}, {}] for a weight of {} rows", s.rows(), s.cols(), rows);
  if (needed_gradient_moments() == GradientMoments::full && !is_full) {
    throw DataError(fmt::format("layer `{}`: '{}' needs all second moments of the loss gradient, found their diagonal", layer, kind()));
  }
}

Decomposition Decomposer::decompose(const std::string& layer, ConstTensorView weight,
                                    const LayerStatistics& statistics) const {
  const auto original = to_matrix<double>(weight);
  expect_finite(layer, original);
  expect_moments(layer, weight.rows, weight.cols, statistics);
  Decomposition result = do_decompose(layer, weight, statistics);
  const auto difference = difference_of(original, result.factorization->to_dense().view());
  result.relative_error = relative(squared_norm(difference), squared_norm(original));
  if (statistics.input_moments.size() > 0) {
    result.weighted_error = relative(weighted_norm(difference, statistics.input_moments),
                                     weighted_norm(original, statistics.input_moments));
  }
  return result;
}

Decomposition Decomposer::decompose(const comm::Communicator& communicator, const std::string& layer,
                                    ConstTensorView own_rows, Index rows, Index cols,
                                    const LayerStatistics& statistics) const {
  const auto range = comm::block_range(rows, communicator.rank(), communicator.size());
  const auto original = comm::coordinate(communicator, [&] {
    KRONLAB_EXPECTS(own_rows.rows == range.size() && (own_rows.cols == cols || range.size() == 0),
                    "layer `{}` ({} x {}): rank {} gives {} x {}, expected {} rows", layer, rows, cols,
                    communicator.rank(), own_rows.rows, own_rows.cols, range.size());
    Matrix<double> wide(range.size(), cols);
    if (range.size() > 0) convert(own_rows, wide.view());
    expect_finite(layer, wide, range.begin);
    expect_moments(layer, rows, cols, statistics);
    return wide;
  });
  Decomposition result = do_decompose_distributed(communicator, layer, original, rows, cols, statistics);
  // Squared norms of error and weight, then weighted: each rank's rows add their part.
  const auto norms = comm::coordinate(communicator, [&] {
    std::vector<double> parts(4);
    if (range.size() == 0) return parts;
    std::vector<std::int32_t> ids(static_cast<std::size_t>(range.size()));
    std::iota(ids.begin(), ids.end(), checked_cast<std::int32_t>(range.begin));
    Tensor approximation(DType::f32, {range.size(), cols});
    result.factorization->gather_rows(ids, approximation.view());
    const auto difference = difference_of(original, approximation.view());
    parts[0] = squared_norm(difference), parts[1] = squared_norm(original);
    if (statistics.input_moments.size() > 0) {
      parts[2] = weighted_norm(difference, statistics.input_moments),
      parts[3] = weighted_norm(original, statistics.input_moments);
    }
    return parts;
  });
  auto sums = norms;
  communicator.sum(std::span<double>(sums));
  result.relative_error = relative(sums[0], sums[1]);
  if (statistics.input_moments.size() > 0) result.weighted_error = relative(sums[2], sums[3]);
  return result;
}

Decomposition Decomposer::do_decompose_distributed(const comm::Communicator&, const std::string& layer,
                                                   ConstMatrixView<double>, Index, Index,
                                                   const LayerStatistics&) const {
  throw ConfigError(
      fmt::format("{}: no distributed form, needed for `{}`; svd, whitened-svd and kronecker have one", kind(), layer));
}

}  // namespace kronlab::decompositions
