#pragma once

#include <optional>

#include "decompositions/permutation/search_state.hpp"
#include "decompositions/permutation/sweeps.hpp"

namespace kronlab::decompositions {

/// One search as it runs: the best grouping so far, its curve, and what is left of the budget.
class SearchRun {
 public:
  /// first: where to begin in place of the norm sort
  SearchRun(const PermutationObjective& objective, const SearchBudget& budget, SearchKeeper& keeper, std::optional<Grouping> first);

  const PermutationObjective& objective() const { return objective_; }
  const Grouping& best() const { return best_; }
  double best_value() const { return value_; }
  /// A grouping to begin with: the best of those offered before any move was made is the start.
  void start(const Grouping& grouping);
  /// The norm sort, or the identity where that keeps more; or what the search was given to begin with.
  void start_sorted();
  /// Keeps the grouping if its value, in double from scratch, is the best so far. Its value.
  double offer(const Grouping& grouping);

  /// Moves along an axis from a grouping, refreshed; those of the same axis before are over.
  AxisMoves& moves(Axis axis, const Grouping& grouping);

  void count(const SweepCount& count) { evaluated_ += count.evaluated, accepted_ += count.accepted; }
  void count_iteration() { ++iterations_; }
  Index evaluated() const { return evaluated_; }
  double seconds() const;
  /// A share of the energy that no grouping exceeds was proved.
  void set_bound(double bound) { bound_ = bound; }
  Index evaluations_left() const { return budget_.max_evaluations - evaluated_; }
  /// Whether the budget is used up; the reason is recorded.
  bool is_exhausted();
  /// The annealing that was cut, if one was, with the run as it was then.
  std::optional<AnnealState> resume();
  /// Saves the annealing and the run where that is due.
  void checkpoint(AnnealState& state);
  /// `reason` unless the budget ended the search.
  SearchResult result(Convergence::Reason reason) const;

 private:
  const PermutationObjective& objective_;
  SearchBudget budget_;
  SearchKeeper& keeper_;
  std::optional<Grouping> first_;
  double started_s_;
  std::unique_ptr<AxisMoves> row_moves_, column_moves_;
  Grouping best_;
  double value_ = -1.0, start_value_ = -1.0;
  std::vector<SearchPoint> curve_;
  Index evaluated_ = 0, accepted_ = 0, iterations_ = 0;
  std::optional<Convergence::Reason> exhausted_;
  std::optional<double> bound_;
};

/// From a grouping by sweeps over rows and columns in turn, the projector made anew after each, to one where neither axis
/// gains any more; or to the end of the budget.
Grouping settled(SearchRun& run, Grouping grouping, SweepCount (*sweep)(AxisMoves&));

/// settled() by swaps; where no swap improves, by assignments; where none improves, by matchings (groups of two, up to 2048
/// elements).
Grouping polished(SearchRun& run, Grouping grouping);

}  // namespace kronlab::decompositions
