#pragma once

#include <cstdint>
#include <span>

#include "framework/tensor/tensor.hpp"

namespace kronlab::decompositions {

/// How numbers are held in few bits: those of a group are scale (code - zero), the code in [0, 2^bits - 1].
struct QuantisationGrid {
  Index bits = 4;          ///< 8, 4, 3 or 2
  Index group = 0;         ///< columns that share a scale, the last of a row may be fewer; 0: the whole row
  bool symmetric = false;  ///< zero is 2^(bits - 1), and not stored
  bool operator==(const QuantisationGrid&) const = default;

  Index num_levels() const { return Index{1} << bits; }
  Index num_groups(Index cols) const { return group == 0 ? 1 : (cols + group - 1) / group; }
};

/// @throws ConfigError unless bits are 8, 4, 3 or 2 and the group is not negative
void expect_possible(const QuantisationGrid& grid);

/// The nearest half-precision number to a positive scale, for that is how scales are stored: it is rounded before codes are
/// chosen, so that the codes are right for the scale that is used. At least 2^-24, at most 65504.
float rounded_scale(double scale);

/// Scale and zero of one group.
struct GroupScale {
  float scale = 0;  ///< as rounded_scale has it
  std::uint8_t zero = 0;
};

/// The finest that reaches from the least to the greatest value and holds 0 itself, by the values' range: asymmetric, the
/// range from min(0, least) to max(0, greatest) in 2^bits - 1 steps, zero = round(-least / scale); symmetric, that from
/// -|greatest| to |greatest|. Of values that are all zero: scale 1. Halves are rounded to even.
/// @pre finite values
GroupScale scale_by_range(std::span<const double> values, const QuantisationGrid& grid);

/// The code nearest to a value; halves are rounded to even.
inline std::uint8_t nearest_code(double value, GroupScale by, const QuantisationGrid& grid) {
  const double code = __builtin_nearbyint(value / static_cast<double>(by.scale)) + by.zero;
  const auto largest = static_cast<double>(grid.num_levels() - 1);
  return static_cast<std::uint8_t>(code < 0 ? 0 : code > largest ? largest : code);
}

inline double value_of(std::uint8_t code, GroupScale by) { return static_cast<double>(by.scale) * (code - by.zero); }

}  // namespace kronlab::decompositions
