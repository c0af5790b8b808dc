#include "decompositions/permutation/configured_search.hpp"

namespace kronlab::decompositions {

GroupingProblem grouping_problem_of(const Decomposer& decomposer, const std::string& layer, Index rows, Index cols) {
  const auto problem = decomposer.grouping_problem(layer, rows, cols);
  if (!problem) throw ConfigError(fmt::format("`{}`: '{}' gains nothing from a permutation: leave out permute", layer, decomposer.kind()));
  return *problem;
}

SearchResult ConfiguredSearch::find(const Decomposer& decomposer, const std::string& layer, ConstTensorView weight,
                                    const LayerStatistics& statistics, const RandomStream& random) const {
  SearchResult best = find_from(0, decomposer, layer, weight, statistics, random);
  for (Index start = 1; start < search->num_starts(); ++start) {
    keep_best(best, find_from(start, decomposer, layer, weight, statistics, random));
  }
  return best;
}

SearchResult ConfiguredSearch::find_from(Index start, const Decomposer& decomposer, const std::string& layer, ConstTensorView weight,
                                         const LayerStatistics& statistics, const RandomStream& random, SearchStateStore* store) const {
  const auto problem = problem_of(decomposer, layer, weight.rows, weight.cols);
  const Tensor seen = weighted(layer, weight, weighting, statistics, damping);
  return search->search(layer, seen.view(), problem, random, budget, store, start);
}

Index ConfiguredSearch::stored_bytes(const Decomposer& decomposer, const std::string& layer, Index rows, Index cols) const {
  const auto problem = problem_of(decomposer, layer, rows, cols);
  if (search->kind() == "identity" || absorbs) return 0;
  return 4 * ((problem.right_rows > 1 ? rows : 0) + (problem.right_cols > 1 ? cols : 0));
}

GroupingProblem ConfiguredSearch::problem_of(const Decomposer& decomposer, const std::string& layer, Index rows,
                                             Index cols) const {
  const auto problem = grouping_problem_of(decomposer, layer, rows, cols);
  if (problem.grid && weighting != Weighting::none) {
    throw ConfigError(fmt::format("`{}`: a search for '{}' sees the ranges of the weight as it is: leave out weighting",
                                  layer, decomposer.kind()));
  }
  return problem;
}

double ConfiguredSearch::cost(Index rows, Index cols) const {
  return static_cast<double>(search->num_starts()) * search->cost(rows, cols, budget);
}

}  // namespace kronlab::decompositions
