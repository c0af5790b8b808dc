#pragma once

#include "decompositions/decomposer.hpp"
#include "decompositions/permutation/configured_search.hpp"
#include "framework/config/strict_table.hpp"

namespace kronlab::decompositions {

/// The decomposer of a table `{ kind = "kronecker", ... }`; the other keys are the members of the kind's options.
/// @throws ConfigError with file, line, what was found and what is known
std::unique_ptr<Decomposer> decomposer_from(const config::StrictTable& table);

/// A search as a table `{ kind = "swap-descent", weighting = "inputs", max_evaluations = ..., time_limit_s = ... }`
/// describes it.
/// @throws ConfigError as `decomposer_from`
ConfiguredSearch search_from(const config::StrictTable& table);

}  // namespace kronlab::decompositions
