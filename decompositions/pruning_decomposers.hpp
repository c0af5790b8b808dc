#pragma once

#include <memory>

#include "decompositions/decomposer.hpp"
#include "decompositions/pruning_mask.hpp"
#include "decompositions/quantisation_grid.hpp"

namespace kronlab::decompositions {

/// Which weights compete for a share of them.
enum class PruningScope { row, layer };

/// What decides which weights go: the smallest scores, of equal ones the first.
enum class MaskSource {
  magnitude,  ///< |W_ij|
  inputs,     ///< |W_ij| |X_j|, X_j the inputs of column j (Wanda)
  zeros,      ///< those that are zero already, at least as many as shall go: a mask that was found elsewhere
  sweep,      ///< what each costs when the sweep reaches it (SparseGPT)
};

/// Weights are pruned and the others stay as they are: by their size, by size and inputs (Wanda: Sun et al.,
/// 2306.11695, section 3), or those that are zero already. The result is Sparse.
struct PruningOptions {
  PruningAmount amount;
  PruningScope scope = PruningScope::row;
  MaskSource mask = MaskSource::magnitude;  ///< not sweep
};
/// kind: "magnitude" or "wanda"  @throws ConfigError on an impossible amount
std::unique_ptr<Decomposer> make_pruning_decomposer(std::string_view kind, const PruningOptions& options);

/// Weights are pruned column by column, and those not reached yet make up for it (SparseGPT: Frantar and Alistarh,
/// 2301.00774): Sparse, or with a grid, on which what stays is rounded in the same sweep, QuantisedDense with kept
/// entries. Columns whose input was always 0 become 0.
struct SparseGptOptions {
  PruningAmount amount;
  MaskSource mask = MaskSource::sweep;     ///< another one is made before the sweep, row by row
  Index block = 128;                       ///< columns over which a share of the weights is chosen at once
  double damping = 0.01;                   ///< of C, in parts of its mean diagonal
  std::optional<QuantisationGrid> grid{};  ///< its group and the block divide one another
};
/// @throws ConfigError on an impossible amount, block, damping or grid
std::unique_ptr<Decomposer> make_sparsegpt_decomposer(const SparseGptOptions& options);

}  // namespace kronlab::decompositions
