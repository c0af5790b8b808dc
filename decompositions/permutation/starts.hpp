#pragma once

#include <vector>

#include "decompositions/permutation/permutation_search.hpp"

namespace kronlab::decompositions {

/// Orders of rows and columns: entry g * group + u is the element at position u of group g.
struct Grouping {
  std::vector<Index> rows, columns;
};

std::vector<Index> identity_order(Index n);
/// The largest norms at position 0 of the groups, the smallest at the last position.
Grouping norm_sorted(ConstMatrixView<double> weight, const GroupingProblem& problem);

}  // namespace kronlab::decompositions
