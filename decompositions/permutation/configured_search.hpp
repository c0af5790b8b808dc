#pragma once

#include "decompositions/permutation/permutation_search.hpp"

namespace kronlab::decompositions {

/// A search, what it sees of a weight, and when it stops.
struct ConfiguredSearch {
  std::unique_ptr<PermutationSearch> search;
  Weighting weighting = Weighting::none;  ///< of what the search sees
  Damping damping;  ///< of the moments that it sees
  SearchBudget budget;
  bool absorbs = false;  ///< orders only axes whose order is free in the model, so that nothing is stored or gathered

  bool needs_input_moments() const { return weighting != Weighting::none; }
  GradientMoments needed_gradient_moments() const {
    return weighting == Weighting::two_sided ? GradientMoments::diagonal : GradientMoments::none;
  }
  /// Permutations that make `weight`: [out, in] easier for `decomposer`, from all starts. @throws ConfigError if it gains
  /// nothing from them, and as `weighted` and PermutationSearch::search
  SearchResult find(const Decomposer& decomposer, const std::string& layer, ConstTensorView weight,
                    const LayerStatistics& statistics, const RandomStream& random) const;
  /// The same from one of the starts.
  SearchResult find_from(Index start, const Decomposer& decomposer, const std::string& layer, ConstTensorView weight,
                         const LayerStatistics& statistics, const RandomStream& random, SearchStateStore* store = nullptr) const;
  /// What permutations of such a weight add to a decomposition: bytes, at most, of the axes whose groups have more than
  /// one element. @throws ConfigError if the decomposer gains nothing from them, or its ranges would be those of a
  /// weight that is scaled
  Index stored_bytes(const Decomposer& decomposer, const std::string& layer, Index rows, Index cols) const;
  /// Multiply-adds of all starts, roughly.
  double cost(Index rows, Index cols) const;
  /// As grouping_problem_of. @throws ConfigError for a search that sees scaled weights where the groups are rounded
  GroupingProblem problem_of(const Decomposer& decomposer, const std::string& layer, Index rows, Index cols) const;
};

/// The problem that a permutation solves for this decomposer. @throws ConfigError if it gains nothing from one
GroupingProblem grouping_problem_of(const Decomposer& decomposer, const std::string& layer, Index rows, Index cols);

}  // namespace kronlab::decompositions
