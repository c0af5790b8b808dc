#include "decompositions/decomposer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "framework/linalg/distributed_matrix.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::decompositions {
namespace {

/// Σ_ij A_ij B_ij.
double inner(ConstMatrixView<double> a, ConstMatrixView<double> b) {
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.cols; ++j) sum += a(i, j) * b(i, j);
  }
  return sum;
}

/// Only the diagonal of S is known.
bool is_diagonal(const Matrix<double>& s) { return s.rows() == 1; }

/// Rows of S A for a diagonal S.  first_row: where these rows begin in the weight
Matrix<double> scaled_rows(const Matrix<double>& s, const Matrix<double>& a, Index first_row) {
  Matrix<double> scaled(a.rows(), a.cols());
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.cols(); ++j) scaled(i, j) = s(0, first_row + i) * a(i, j);
  }
  return scaled;
}

Matrix<double> product(const Matrix<double>& a, const Matrix<double>& b) {
  Matrix<double> result(a.rows(), b.cols());
  linalg::gemm(linalg::Transpose::no, a.view(), linalg::Transpose::no, b.view(), 0.0, result.view());
  return result;
}

/// Squared: |A|_F, tr(A C A^T), tr(S A C A^T), as far as moments are known. Of some rows, their share.
struct Norms {
  double plain = 0.0, weighted = 0.0, two_sided = 0.0;
};

/// sa: the same rows of S A; empty where S is not known
Norms norms_of(const Matrix<double>& a, const Matrix<double>& sa, const LayerStatistics& statistics) {
  Norms norms;
  norms.plain = inner(a, a);
  if (statistics.input_moments.size() == 0) return norms;
  const auto ac = product(a, statistics.input_moments);
  norms.weighted = inner(a, ac);
  if (sa.size() > 0) norms.two_sided = inner(sa, ac);
  return norms;
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

bool has_both(const LayerStatistics& statistics) {
  return statistics.input_moments.size() > 0 && statistics.gradient_moments.size() > 0;
}

/// Relative errors from the norms of the error and of the weight.
RelativeErrors errors_from(const Norms& error, const Norms& weight, const LayerStatistics& statistics) {
  RelativeErrors errors{relative(error.plain, weight.plain), {}, {}};
  if (statistics.input_moments.size() > 0) errors.weighted = relative(error.weighted, weight.weighted);
  if (has_both(statistics)) errors.two_sided = relative(error.two_sided, weight.two_sided);
  return errors;
}

void set_errors(Decomposition& result, const RelativeErrors& errors) {
  result.relative_error = errors.plain, result.weighted_error = errors.weighted, result.two_sided_error = errors.two_sided;
}

void expect_finite_moments(const std::string& layer, const char* what, const Matrix<double>& moments) {
  for (Index i = 0; i < moments.size(); ++i) {
    if (!std::isfinite(moments.data()[i])) {
      throw DataError(fmt::format("layer `{}`: second moments of {}: [{}, {}] is {}, expected a finite number", layer,
                                  what, i / moments.cols(), i % moments.cols(), moments.data()[i]));
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

RelativeErrors relative_errors(const Matrix<double>& weight, const Matrix<double>& difference, const LayerStatistics& statistics) {
  const auto norms = [&](const Matrix<double>& a) {
    const auto& s = statistics.gradient_moments;
    if (!has_both(statistics)) return norms_of(a, {}, statistics);
    return norms_of(a, is_diagonal(s) ? scaled_rows(s, a, 0) : product(s, a), statistics);
  };
  return errors_from(norms(difference), norms(weight), statistics);
}

std::map<std::string, FactorShape> Decomposer::factor_shapes(const std::string&, Index, Index) const { return {}; }

std::vector<FactorShape> Decomposer::stored_factors(const std::string&, Index, Index) const { return {}; }

std::optional<GroupingProblem> Decomposer::grouping_problem(const std::string&, Index, Index) const {
  return std::nullopt;
}

void Decomposer::expect_moments(const std::string& layer, Index rows, Index cols,
                                const LayerStatistics& statistics) const {
  const auto& c = statistics.input_moments;
  const auto& s = statistics.gradient_moments;
  const auto needed = needed_gradient_moments();
  if (needs_input_moments() && c.size() == 0) {
    throw DataError(fmt::format("layer `{}`: '{}' needs second moments of the layer's inputs: give calibration data",
                                layer, kind()));
  }
  if (needed != GradientMoments::none && s.size() == 0) {
    throw DataError(
        fmt::format("layer `{}`: '{}' needs second moments of the gradient in the layer's outputs: give "
                    "calibration data",
                    layer, kind()));
  }
  if (c.size() > 0 && (c.rows() != cols || c.cols() != cols)) {
    throw DataError(fmt::format("layer `{}` ({} x {}): second moments of its inputs are {} x {}, expected {} x {}",
                                layer, rows, cols, c.rows(), c.cols(), cols, cols));
  }
  if (s.size() > 0 && (s.cols() != rows || (s.rows() != rows && !is_diagonal(s)))) {
    throw DataError(
        fmt::format("layer `{}` ({} x {}): second moments of its gradient are {} x {}, expected {} x {} or "
                    "the diagonal, 1 x {}",
                    layer, rows, cols, s.rows(), s.cols(), rows, rows, rows));
  }
  if (needed == GradientMoments::full && s.rows() != rows) {
    throw DataError(
        fmt::format("layer `{}`: '{}' needs all second moments of the gradient, found their diagonal", layer, kind()));
  }
  expect_finite_moments(layer, "its inputs", c);
  expect_finite_moments(layer, "its gradient", s);
}

Decomposition Decomposer::decompose(const std::string& layer, ConstTensorView weight,
                                    const LayerStatistics& statistics) const {
  const auto original = to_matrix<double>(weight);
  expect_finite(layer, original);
  expect_moments(layer, weight.rows, weight.cols, statistics);
  Decomposition result = do_decompose(layer, weight, statistics);
  const auto difference = difference_of(original, result.factorization->to_dense().view());
  set_errors(result, relative_errors(original, difference, statistics));
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
  const auto difference = comm::coordinate(communicator, [&] {
    if (range.size() == 0) return Matrix<double>(0, cols);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(range.size()));
    std::iota(ids.begin(), ids.end(), checked_cast<std::int32_t>(range.begin));
    Tensor approximation(DType::f32, {range.size(), cols});
    result.factorization->gather_rows(ids, approximation.view());
    return difference_of(original, approximation.view());
  });
  // Each rank's rows add their part.
  const auto norms = [&](const Matrix<double>& a) {
    const auto& s = statistics.gradient_moments;
    Matrix<double> sa;
    if (has_both(statistics) && !is_diagonal(s))
      sa = linalg::product_of_rows(communicator, linalg::Transpose::no, s.view(), a.view());
    const auto own = comm::coordinate(communicator, [&] {
      if (has_both(statistics) && is_diagonal(s)) sa = scaled_rows(s, a, range.begin);
      return norms_of(a, sa, statistics);
    });
    double sums[] = {own.plain, own.weighted, own.two_sided};
    communicator.sum(std::span<double>(sums));
    return Norms{sums[0], sums[1], sums[2]};
  };
  set_errors(result, errors_from(norms(difference), norms(original), statistics));
  return result;
}

Decomposition Decomposer::do_decompose_distributed(const comm::Communicator&, const std::string& layer,
                                                   ConstMatrixView<double>, Index, Index,
                                                   const LayerStatistics&) const {
  throw ConfigError(
      fmt::format("{}: no distributed form, needed for `{}`; svd, whitened-svd and kronecker have one", kind(), layer));
}

}  // namespace kronlab::decompositions
