#include "decompositions/rounding_policy.hpp"

#include <algorithm>
#include <cmath>

namespace kronlab::decompositions {
namespace {

/// A leaf is at most about this wide: within it weights move one by one, from leaf to leaf by products of matrices.
constexpr Index leaf_width = 128;

}  // namespace

RoundingPolicy::RoundingPolicy(Index rows, Index cols, const QuantisationGrid& grid, ScaleRounding rounding)
    : grid_(grid), rounding_(rounding), group_(grid.group > 0 ? std::min(grid.group, cols) : cols), codes_(rows, cols) {
  const bool is_in_leaf = group_ <= leaf_width;
  // The grid of all of a row is made before anything has moved.
  panel_ = group_ == cols ? std::min(cols, leaf_width) : is_in_leaf ? leaf_width / group_ * group_ : group_;
  leaf_ = std::min(panel_, is_in_leaf ? panel_ : leaf_width);
  const Index num_groups = grid.num_groups(cols);
  zero_points_ = Matrix<std::uint8_t>(rows, num_groups);
  scales_ = Matrix<double>(rows, num_groups);
}

void RoundingPolicy::fit(Index row, Index of_group, std::span<const double> weights) {
  const auto by = scale_by_range(weights, grid_);
  scales_(row, of_group) = static_cast<double>(by.scale);
  zero_points_(row, of_group) = by.zero;
  if (rounding_ == ScaleRounding::stored) return;
  const auto [least, greatest] = std::ranges::minmax(weights);
  const double low = std::min(least, 0.0), high = std::max(greatest, 0.0),
               steps = static_cast<double>(grid_.num_levels() - 1);
  if (low == high) return;
  scales_(row, of_group) = (grid_.symmetric ? 2 * std::max(-low, high) : high - low) / steps;
  if (!grid_.symmetric)
    zero_points_(row, of_group) = static_cast<std::uint8_t>(std::nearbyint(-low / scales_(row, of_group)));
}

void RoundingPolicy::start(ConstMatrixView<double> weights) {
  if (group_ < weights.cols) return;
  for (Index i = 0; i < weights.rows; ++i) fit(i, 0, weights.row(i));
}

void RoundingPolicy::fit_if_first(Index row, Index column, std::span<const double> weights) {
  if (column % group_ != 0 || group_ == codes_.cols()) return;
  fit(row, column / group_, weights.first(std::min(static_cast<std::size_t>(group_), weights.size())));
}

void RoundingPolicy::settle_zero(Index row, Index column, std::span<const double> weights) noexcept {
  fit_if_first(row, column, weights);
  codes_(row, column) = zero_points_(row, column / group_);
}

double RoundingPolicy::settle(Index row, Index column, std::span<const double> weights) noexcept {
  fit_if_first(row, column, weights);
  const Index g = column / group_;
  const double scale = scales_(row, g), zero = zero_points_(row, g), most = static_cast<double>(grid_.num_levels() - 1);
  const double code = std::clamp(std::nearbyint(weights.front() / scale) + zero, 0.0, most);
  codes_(row, column) = static_cast<std::uint8_t>(code);
  return scale * (code - zero);
}

QuantisedCodes RoundingPolicy::quantised_codes() const {
  KRONLAB_EXPECTS(rounding_ == ScaleRounding::stored, "codes for scales that were not rounded");
  QuantisedCodes content;
  content.rows = codes_.rows(), content.cols = codes_.cols(), content.grid = grid_;
  content.codes.assign(codes_.data(), codes_.data() + codes_.size());
  content.scales = Tensor(DType::f32, {scales_.rows(), scales_.cols()});
  convert(scales_.view(), content.scales.view());
  if (!grid_.symmetric) content.zeros.assign(zero_points_.data(), zero_points_.data() + zero_points_.size());
  return content;
}

void round_to_nearest(Matrix<double>& weight, RoundingPolicy& policy) {
  policy.start(weight);
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < weight.rows(); ++i) {
    const auto row = weight.row(i);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = policy.settle(i, static_cast<Index>(j), row.subspan(j));
  }
}

}  // namespace kronlab::decompositions
