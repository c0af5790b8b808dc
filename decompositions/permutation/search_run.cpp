#include "decompositions/permutation/search_run.hpp"

#include <utility>

#include "framework/base/progress.hpp"
#include "framework/base/sign_of_life.hpp"

namespace kronlab::decompositions {

SearchRun::SearchRun(const PermutationObjective& objective, const SearchBudget& budget, SearchKeeper& keeper, std::optional<Grouping> first)
    : objective_(objective), budget_(budget), keeper_(keeper), first_(std::move(first)), started_s_(now_s()) {}

double SearchRun::seconds() const { return now_s() - started_s_; }

void SearchRun::start(const Grouping& grouping) {
  offer(grouping);
  start_value_ = value_;
}

void SearchRun::start_sorted() {
  if (first_) return start(*first_);
  start(identity_grouping(objective_));
  start(norm_sorted_grouping(objective_));
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
  SignOfLife::give();
  if (exhausted_) return true;
  if (evaluated_ >= budget_.max_evaluations) exhausted_ = Convergence::Reason::max_iterations;
  if (budget_.time_limit_s > 0 && seconds() > budget_.time_limit_s) exhausted_ = Convergence::Reason::time_limit;
  return exhausted_.has_value();
}

std::optional<AnnealState> SearchRun::resume() {
  const auto state = keeper_.annealing();
  if (!state) return std::nullopt;
  const SearchResult& so_far = state->so_far;
  if (!is_grouping_of(objective_, state->grouping) || !is_grouping_of(objective_, {so_far.rows, so_far.columns})) return std::nullopt;
  best_ = {so_far.rows, so_far.columns};
  value_ = so_far.value, start_value_ = so_far.start_value;
  curve_ = so_far.curve;
  evaluated_ = so_far.evaluated, accepted_ = so_far.accepted, iterations_ = so_far.convergence.num_iterations;
  started_s_ = now_s() - state->seconds;
  return state;
}

void SearchRun::checkpoint(AnnealState& state) {
  if (!keeper_.is_due()) return;
  state.seconds = seconds();
  state.so_far = result(Convergence::Reason::max_iterations);
  keeper_.save(state);
}

SearchResult SearchRun::result(Convergence::Reason reason) const {
  SearchResult result;
  result.rows = best_.rows, result.columns = best_.columns;
  result.start_value = start_value_, result.value = value_;
  result.bound = bound_;
  result.convergence = {exhausted_.value_or(reason), iterations_, 0.0};
  result.curve = curve_;
  result.evaluated = evaluated_, result.accepted = accepted_;
  return result;
}

Grouping settled(SearchRun& run, Grouping grouping, SweepCount (*sweep)(AxisMoves&)) {
  constexpr double least_gain = 1e-6;  // of the energy: single precision sees no less
  const auto& objective = run.objective();
  const auto improve = [&](Axis axis) {
    if (objective.group(axis) == 1) return false;
    AxisMoves& moves = run.moves(axis, grouping);
    const double before = moves.kept();
    double value = before;
    while (!run.is_exhausted()) {
      const SweepCount count = sweep(moves);
      run.count(count);
      if (count.accepted == 0) break;
      moves.refresh();
      const double after = moves.kept();
      if (after <= value + least_gain * objective.energy()) break;
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

Grouping polished(SearchRun& run, Grouping grouping) {
  return settled(run, std::move(grouping), [](AxisMoves& moves) {
    constexpr Index largest_matching = 2048;  // elements: it takes memory and time in their square and more
    SweepCount count = descend(moves);
    const auto add_if_settled = [&](SweepCount (*sweep)(AxisMoves&)) {
      if (count.accepted > 0) return;
      const SweepCount more = sweep(moves);
      count.evaluated += more.evaluated, count.accepted = more.accepted;
    };
    add_if_settled(reassign);
    if (moves.group() == 2 && moves.size() <= largest_matching) add_if_settled(rematch);
    return count;
  });
}

}  // namespace kronlab::decompositions
