#include "decompositions/quantisation_grid.hpp"

#include <algorithm>
#include <cmath>

namespace kronlab::decompositions {

void expect_possible(const QuantisationGrid& grid) {
  const Index bits = grid.bits;
  if (bits != 8 && bits != 4 && bits != 3 && bits != 2) throw ConfigError(fmt::format("quantised: {} bits, expected 8, 4, 3 or 2", bits));
  if (grid.group < 0) throw ConfigError(fmt::format("quantised: groups of {} columns, expected at least 1, or 0 for a row", grid.group));
}

float rounded_scale(double scale) {
  KRONLAB_EXPECTS(scale > 0, "a scale of {}, expected a positive one", scale);
  constexpr double least = 0x1p-24, greatest = 65504;
  return static_cast<float>(float16(static_cast<float>(std::clamp(scale, least, greatest))));
}

GroupScale scale_by_range(std::span<const double> values, const QuantisationGrid& grid) {
  const auto steps = static_cast<double>(grid.num_levels() - 1);
  double least = 0, greatest = 0;
  for (const double value : values) least = std::min(least, value), greatest = std::max(greatest, value);
  const auto middle = static_cast<std::uint8_t>(grid.num_levels() / 2);
  if (least == greatest) return {1.0F, grid.symmetric ? middle : std::uint8_t{0}};
  if (grid.symmetric) return {rounded_scale(2 * std::max(-least, greatest) / steps), middle};
  const float scale = rounded_scale((greatest - least) / steps);
  return {scale, static_cast<std::uint8_t>(std::clamp(std::nearbyint(-least / static_cast<double>(scale)), 0.0, steps))};
}

}  // namespace kronlab::decompositions
