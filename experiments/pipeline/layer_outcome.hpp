#pragma once

#include <optional>
#include <string>
#include <vector>

#include "decompositions/permutation/permutation_search.hpp"
#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// What became of one layer: computed on the rank that owns it, then known to all but for what is only recorded.
struct LayerOutcome {
  std::string name;
  decompositions::FactorizationParts parts;
  double relative_error = 0.0;
  std::optional<double> weighted_error;
  decompositions::Convergence convergence;
  std::vector<double> spectrum;                        ///< on the owner, else empty
  std::vector<double> discarded_weights;               ///< on the owner, else empty
  std::optional<decompositions::SearchResult> search;  ///< permutations and curve on the owner, else empty
  decompositions::Size size;  ///< of the factorization
  double seconds = 0.0;
  bool is_own = true;  ///< this rank has all of it
};

/// Hands the outcome of rank `owner` to all, but for its spectrum, discarded weights and its search's permutations and curve, which the owner
/// writes (the permutations are in `parts` too). Collective.
LayerOutcome broadcast(const comm::Communicator& communicator, LayerOutcome outcome, int owner);

}  // namespace kronlab::experiments
