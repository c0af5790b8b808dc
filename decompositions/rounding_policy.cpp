#include "decompositions/rounding_policy.hpp"

#include <algorithm>
#include <cmath>

namespace kronlab::decompositions {
namespace {

/// A leaf is at most about this wide: within it weights move one by one, from leaf to leaf by products of matrices.
constexpr Index leaf_width = 128;

double as_kept(double scale, ScaleType type) {
  if (type == ScaleType::f64) return scale;
  const auto rounded = static_cast<double>(static_cast<float>(float16(static_cast<float>(scale))));
  constexpr double least = 0x1p-24;  // of half precision
  return std::max(rounded, least);
}

}  // namespace

double RoundingGrid::code(double weight) const { return std::clamp(std::nearbyint(weight / scale) + zero, 0.0, most); }

void expect_rounding_options(std::string_view kind, const RoundingOptions& options) {
  if (options.bits != 2 && options.bits != 3 && options.bits != 4 && options.bits != 8) {
    throw ConfigError(fmt::format("{}: bits is {}, expected 2, 3, 4 or 8", kind, options.bits));
  }
  if (options.group < 0)
    throw ConfigError(
        fmt::format("{}: group is {}, expected a number of columns, or 0 for all of a row", kind, options.group));
}

RoundingGrid grid_of(std::span<const double> weights, const RoundingOptions& options, ScaleType scales) {
  double low = 0, high = 0;
  for (const double w : weights) low = std::min(low, w), high = std::max(high, w);
  if (options.symmetric) high = std::max(-low, high), low = -high;
  RoundingGrid grid;
  grid.most = static_cast<double>((1 << options.bits) - 1);
  if (high > low) grid.scale = as_kept((high - low) / grid.most, scales);
  grid.zero = options.symmetric ? static_cast<double>(1 << (options.bits - 1))
                                : std::clamp(std::nearbyint(-low / grid.scale), 0.0, grid.most);
  return grid;
}

RoundingPolicy::RoundingPolicy(Index rows, Index cols, const RoundingOptions& options, ScaleType scales)
    : options_(options),
      scale_type_(scales),
      group_(options.group > 0 ? std::min(options.group, cols) : cols),
      codes_(rows, cols) {
  const bool is_in_leaf = group_ <= leaf_width;
  // The grid of all of a row is made before anything has moved.
  panel_ = group_ == cols ? std::min(cols, leaf_width) : is_in_leaf ? leaf_width / group_ * group_ : group_;
  leaf_ = std::min(panel_, is_in_leaf ? panel_ : leaf_width);
  const Index num_groups = (cols + group_ - 1) / group_;
  zero_points_ = Matrix<std::uint8_t>(rows, num_groups);
  scales_ = Matrix<double>(rows, num_groups);
}

void RoundingPolicy::fit(Index row, Index of_group, std::span<const double> weights) {
  const auto grid = grid_of(weights, options_, scale_type_);
  scales_(row, of_group) = grid.scale;
  zero_points_(row, of_group) = static_cast<std::uint8_t>(grid.zero);
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
  const RoundingGrid grid{scales_(row, g), static_cast<double>(zero_points_(row, g)),
                          static_cast<double>((1 << options_.bits) - 1)};
  const double code = grid.code(weights.front());
  codes_(row, column) = static_cast<std::uint8_t>(code);
  return grid.value(code);
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
