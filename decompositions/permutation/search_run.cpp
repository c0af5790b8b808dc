#include "decompositions/permutation/search_run.hpp"

#include <utility>

#include "framework/base/progress.hpp"

namespace kronlab::decompositions {

SearchRun::SearchRun(const PermutationObjective& objective, const SearchBudget& budget)
    : objective_(objective), budget_(budget), started_s_(now_s()) {}

double SearchRun::seconds() const { return now_s() - started_s_; }

void SearchRun::start(Grouping grouping) {
  offer(grouping);
  start_value_ = value_;
}

double SearchRun::offer(const Grouping& grouping) {
  const double value = objective_.value(grouping);
  if (value > value_) {
    value_ = value, best_ = grouping;
    curve_.push_back({evaluated_, seconds(), value});
  }
  return value;
}

AxisMoves& SearchRun::moves(Axis axis, const Grouping& grouping) {
  auto& kept = axis == Axis::rows ? row_moves_ : column_moves_;
  if (kept) {
    kept->restart(grouping);
  } else {
    kept = objective_.moves(axis, grouping);
  }
  return *kept;
}

bool SearchRun::is_exhausted() {
  if (exhausted_) return true;
  if (evaluated_ >= budget_.max_evaluations) exhausted_ = Convergence::Reason::max_iterations;
  if (budget_.time_limit_s > 0 && seconds() > budget_.time_limit_s) exhausted_ = Convergence::Reason::time_limit;
  return exhausted_.has_value();
}

SearchResult SearchRun::result(Convergence::Reason reason) && {
  SearchResult result;
  result.rows = std::move(best_.rows), result.columns = std::move(best_.columns);
  result.start_value = start_value_, result.value = value_;
  result.bound = bound_;
  result.convergence = {exhausted_.value_or(reason), iterations_, 0.0};
  result.curve = std::move(curve_);
  result.evaluated = evaluated_, result.accepted = accepted_;
  return result;
}

Grouping polished(SearchRun& run, Grouping grouping) {
  constexpr double least_gain = 1e-6;  // of the energy: single precision sees no less
  const auto& objective = run.objective();
  const auto improve = [&](Axis axis) {
    if (objective.group(axis) == 1) return false;
    AxisMoves& moves = run.moves(axis, grouping);
    const double before = moves.kept();
    double value = before;
    while (!run.is_exhausted()) {
      SweepCount count = descend(moves);
      run.count(count);
      if (count.accepted == 0) run.count(count = reassign(moves));
      moves.refresh();
      const double after = moves.kept();
      if (count.accepted == 0 || after <= value + least_gain * objective.energy()) break;
      value = after;
    }
    grouping.of(axis) = moves.order();
    run.offer(grouping);
    return value > before + least_gain * objective.energy();
  };
  bool improved = objective.energy() > 0;
  while (improved && !run.is_exhausted()) {
    improved = improve(Axis::rows);
    improved = improve(Axis::columns) || improved;
    run.count_iteration();
  }
  return grouping;
}

}  // namespace kronlab::decompositions
