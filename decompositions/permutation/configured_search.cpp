#include "decompositions/permutation/configured_search.hpp"

namespace kronlab::decompositions {
namespace {

GroupingProblem problem_of(const Decomposer& decomposer, const std::string& layer, Index rows, Index cols) {
  const auto problem = decomposer.grouping_problem(layer, rows, cols);
  if (!problem) throw ConfigError(fmt::format("`{}`: '{}' gains nothing from a permutation: leave out permute", layer, decomposer.kind()));
  return *problem;
}

}  // namespace

SearchResult ConfiguredSearch::find(const Decomposer& decomposer, const std::string& layer, ConstTensorView weight,
                                    const LayerStatistics& statistics, RandomStream random) const {
  const auto problem = problem_of(decomposer, layer, weight.rows, weight.cols);
  const Tensor seen = weighted(layer, weight, weighting, statistics);
  return search->search(layer, seen.view(), problem, random, budget);
}

Index ConfiguredSearch::stored_bytes(const Decomposer& decomposer, const std::string& layer, Index rows, Index cols) const {
  const auto problem = problem_of(decomposer, layer, rows, cols);
  if (search->kind() == "identity") return 0;
  return 4 * ((problem.right_rows > 1 ? rows : 0) + (problem.right_cols > 1 ? cols : 0));
}

double ConfiguredSearch::cost(Index rows, Index cols) const {
  return 64.0 * static_cast<double>((rows + cols) * (rows + cols));
}

}  // namespace kronlab::decompositions
