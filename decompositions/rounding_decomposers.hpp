#pragma once

#include <memory>

#include "decompositions/decomposer.hpp"
#include "decompositions/quantisation_grid.hpp"

namespace kronlab::decompositions {

/// Every weight becomes the nearest value of its group's grid: QuantisedDense.
std::unique_ptr<Decomposer> make_rtn_decomposer(const QuantisationGrid& grid);

/// Weights are rounded column by column, and those not reached yet make up for it: QuantisedDense. A group's grid is
/// made of its weights as they are when the sweep reaches it.
///
/// GPTQ: Frantar et al., 2210.17323.
struct GptqOptions {
  QuantisationGrid grid;
  double damping = 0.01;          ///< of C, in parts of its mean diagonal
  bool activation_order = false;  ///< columns by falling C_jj, groups in that order, which is stored
};
/// @throws ConfigError on an impossible grid or damping
std::unique_ptr<Decomposer> make_gptq_decomposer(const GptqOptions& options);

}  // namespace kronlab::decompositions
