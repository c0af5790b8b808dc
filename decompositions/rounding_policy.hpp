#pragma once

#include <cstdint>

#include "decompositions/column_sweep.hpp"
#include "decompositions/quantised_dense.hpp"

namespace kronlab::decompositions {

/// How the scale of a group is rounded before codes are chosen.
enum class ScaleRounding {
  stored,  ///< as rounded_scale has it
  none,
};

/// Weights go to the nearest value of their group's grid, which is made of the group as it is when the sweep reaches it
/// (GPTQ: Frantar et al., 2210.17323).
class RoundingPolicy final : public ColumnPolicy {
 public:
  RoundingPolicy(Index rows, Index cols, const QuantisationGrid& grid, ScaleRounding rounding = ScaleRounding::stored);

  Index panel() const override { return panel_; }
  Index leaf() const override { return leaf_; }
  void start(ConstMatrixView<double> weights) override;
  double settle(Index row, Index column, std::span<const double> weights) noexcept override;

  /// The same for a weight that becomes 0.
  void settle_zero(Index row, Index column, std::span<const double> weights) noexcept;

  Index group() const { return group_; }  ///< columns of a group, at most all
  /// All that was settled.
  QuantisedCodes quantised_codes() const;
  const Matrix<std::uint8_t>& codes() const { return codes_; }  ///< [out, in]

 private:
  void fit(Index row, Index of_group, std::span<const double> weights);
  void fit_if_first(Index row, Index column, std::span<const double> weights);

  QuantisationGrid grid_;
  ScaleRounding rounding_;
  Index group_, panel_, leaf_;
  Matrix<std::uint8_t> codes_, zero_points_;
  Matrix<double> scales_;
};

/// Every weight to the nearest value of its group's grid, in place.
void round_to_nearest(Matrix<double>& weight, RoundingPolicy& policy);

}  // namespace kronlab::decompositions
