#pragma once

#include <optional>

#include "decompositions/column_sweep.hpp"
#include "decompositions/pruning_mask.hpp"
#include "decompositions/rounding_policy.hpp"

namespace kronlab::decompositions {

/// Weights go to zero where that costs the least, the score being w^2 / [H^-1]_jj of the columns not settled yet, which
/// is (w_j R_jj)^2 (SparseGPT: Frantar and Alistarh, 2301.00774): a share of each block of columns over all rows,
/// chosen when the sweep enters the block, or all but n of each m of a row, chosen when it reaches them; or those of a
/// mask. What stays is rounded where a grid is given, in the same sweep.
class PruningPolicy final : public ColumnPolicy {
 public:
  /// block: columns, at least 1; amounts by n and m make it a multiple of m
  PruningPolicy(Index rows, const Matrix<double>& factor, const PruningAmount& amount, Index block,
                std::optional<RoundingPolicy> rounding = {});
  /// With a mask, in the order of the sweep.
  PruningPolicy(PruningMask mask, std::optional<RoundingPolicy> rounding = {});

  /// Columns of a leaf.
  static Index leaf_of(const PruningAmount& amount, Index block);
  /// Weights that are pruned of [rows, cols] by a share of each block.
  static Index num_pruned_by_blocks(Index rows, Index cols, double sparsity, Index block);

  Index panel() const override { return panel_; }
  Index leaf() const override { return leaf_; }
  void start(ConstMatrixView<double> weights) override;
  void enter(Index first, ConstMatrixView<double> weights) override;
  double settle(Index row, Index column, std::span<const double> weights) noexcept override;

  const PruningMask& mask() const { return mask_; }
  const std::optional<RoundingPolicy>& rounding() const { return rounding_; }

 private:
  PruningAmount amount_;           ///< neither where the mask is given
  std::vector<double> weighting_;  ///< R_jj^2
  PruningMask mask_;
  std::optional<RoundingPolicy> rounding_;
  Index panel_ = 0, leaf_ = 0;
};

}  // namespace kronlab::decompositions
