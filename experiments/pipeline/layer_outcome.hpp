#pragma once

#include <optional>
#include <string>
#include <vector>

#include "decompositions/permutation/permutation_search.hpp"
#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// What became of one layer: computed on the rank that owns it, then known to all.
struct LayerOutcome {
  std::string name;
  decompositions::FactorizationParts parts;
  double relative_error = 0.0;
  std::optional<double> weighted_error;
  decompositions::Convergence convergence;
  std::vector<double> spectrum;
  std::optional<decompositions::SearchResult> search;
  double seconds = 0.0;
};

/// Hands the outcome of rank `owner` to all. Collective.
LayerOutcome broadcast(const comm::Communicator& communicator, LayerOutcome outcome, int owner);

}  // namespace kronlab::experiments
