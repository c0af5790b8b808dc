#include "decompositions/decomposer.hpp"

#include <cmath>
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

void expect_finite(const std::string& layer, const Matrix<double>& weight) {
  for (Index i = 0; i < weight.rows(); ++i) {
    for (Index j = 0; j < weight.cols(); ++j) {
      if (!std::isfinite(weight(i, j))) {
        throw DataError(fmt::format("layer `{}`: weight [{}, {}] is {}, expected a finite number", layer, i, j, weight(i, j)));
      }
    }
  }
}

}  // namespace

std::string_view to_string(Convergence::Reason reason) {
  switch (reason) {
    case Convergence::Reason::exact: return "exact";
    case Convergence::Reason::converged: return "converged";
    case Convergence::Reason::max_iterations: return "max_iterations";
    case Convergence::Reason::time_limit: return "time_limit";
  }
  return "?";
}

std::map<std::string, FactorShape> Decomposer::factor_shapes(const std::string&, Index, Index) const { return {}; }

std::optional<GroupingProblem> Decomposer::grouping_problem(const std::string&, Index, Index) const { return std::nullopt; }

Decomposition Decomposer::decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics) const {
  const auto original = to_matrix<double>(weight);
  expect_finite(layer, original);
  const bool has_moments = statistics.input_moments.size() > 0;
  if (needs_input_moments() && !has_moments) {
    throw DataError(fmt::format("layer `{}`: '{}' needs second moments of the layer's inputs: give calibration data", layer, kind()));
  }
  KRONLAB_EXPECTS(!has_moments || statistics.input_moments.rows() == weight.cols, "moments of {} inputs for a weight of {} columns", statistics.input_moments.rows(), weight.cols);
  Decomposition result = do_decompose(layer, weight, statistics);
  auto difference = to_matrix<double>(result.factorization->to_dense().view());
  for (Index i = 0; i < original.size(); ++i) difference.data()[i] = original.data()[i] - difference.data()[i];
  result.relative_error = relative(squared_norm(difference), squared_norm(original));
  if (has_moments) {
    result.weighted_error = relative(weighted_norm(difference, statistics.input_moments), weighted_norm(original, statistics.input_moments));
  }
  return result;
}

}  // namespace kronlab::decompositions
