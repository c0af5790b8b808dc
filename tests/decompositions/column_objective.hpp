#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "decompositions/permutation/permutation_objective.hpp"
#include "decompositions/registry.hpp"
#include "framework/config/value.hpp"

namespace kronlab::testing {

/// Rows as they are, columns in this order.
inline decompositions::Grouping grouping_of(const decompositions::PermutationObjective& objective, std::vector<Index> columns) {
  auto grouping = decompositions::identity_grouping(objective);
  grouping.columns = std::move(columns);
  return grouping;
}

/// A search from keys between semicolons: "kind = \"anneal\"; num_starts = 2".
inline decompositions::ConfiguredSearch search_of(std::string keys) {
  std::ranges::replace(keys, ';', '\n');
  return decompositions::search_from(config::StrictTable(config::parse_toml(keys, "f.toml")));
}

}  // namespace kronlab::testing
