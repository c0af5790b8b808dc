#pragma once

#include "decompositions/decomposer.hpp"
#include "decompositions/quantisation_grid.hpp"

namespace kronlab::decompositions {

/// What `inner` makes of a weight, its factors in few bits (Quantised); errors are those of the rounded factors. A group of the
/// grid is that many neighbours in a factor.
struct QuantisedOptions {
  QuantisationGrid grid{.bits = 4, .group = 64};
  std::unique_ptr<Decomposer> inner;
};
/// @throws ConfigError on an impossible grid; `size_of` if `inner` does not tell the shapes of its factors
std::unique_ptr<Decomposer> make_quantised_decomposer(QuantisedOptions options);

}  // namespace kronlab::decompositions
