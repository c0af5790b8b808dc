#pragma once

#include <cstdint>

#include "decompositions/column_sweep.hpp"

namespace kronlab::decompositions {

/// How the scale of a grid is kept.
enum class ScaleType { f64, f16 };

/// The grid of the weights of a group: code c stands for scale (c - zero), 0 <= c < 2^bits.
struct RoundingGrid {
  double scale = 1.0;
  double zero = 0.0;  ///< a code, so that the weight 0 is on the grid
  double most = 0.0;  ///< 2^bits - 1

  /// The nearest code, halves to even.
  double code(double weight) const;
  double value(double code) const { return scale * (code - zero); }
};

struct RoundingOptions {
  Index bits = 4;
  Index group = 0;         ///< columns that share a grid in a row; 0: all of it
  bool symmetric = false;  ///< the middle code is 0: no zero points to choose, half a step is lost at one end
};
/// @throws ConfigError unless bits are 2, 3, 4 or 8, the group not negative
void expect_rounding_options(std::string_view kind, const RoundingOptions& options);

/// The grid from the least to the largest of the weights, 0 included; symmetric, from -a to a for the largest |w| = a.
/// All zero: scale 1.
RoundingGrid grid_of(std::span<const double> weights, const RoundingOptions& options, ScaleType scales);

/// Weights go to the nearest value of their group's grid, which is made of the group as it is when the sweep reaches it
/// (GPTQ: Frantar et al., 2210.17323).
class RoundingPolicy final : public ColumnPolicy {
 public:
  RoundingPolicy(Index rows, Index cols, const RoundingOptions& options, ScaleType scales);

  Index panel() const override { return panel_; }
  Index leaf() const override { return leaf_; }
  void start(ConstMatrixView<double> weights) override;
  double settle(Index row, Index column, std::span<const double> weights) noexcept override;

  /// The same for a weight that becomes 0.
  void settle_zero(Index row, Index column, std::span<const double> weights) noexcept;

  Index group() const { return group_; }
  const Matrix<std::uint8_t>& codes() const { return codes_; }              ///< [out, in]
  const Matrix<double>& scales() const { return scales_; }                  ///< [out, groups]
  const Matrix<std::uint8_t>& zero_points() const { return zero_points_; }  ///< [out, groups]

 private:
  void fit(Index row, Index of_group, std::span<const double> weights);
  void fit_if_first(Index row, Index column, std::span<const double> weights);

  RoundingOptions options_;
  ScaleType scale_type_;
  Index group_, panel_, leaf_;
  Matrix<std::uint8_t> codes_, zero_points_;
  Matrix<double> scales_;
};

/// Every weight to the nearest value of its group's grid, in place.
void round_to_nearest(Matrix<double>& weight, RoundingPolicy& policy);

}  // namespace kronlab::decompositions
