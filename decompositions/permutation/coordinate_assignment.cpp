#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

class CoordinateAssignmentSearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "coordinate-assignment"; }

 private:
  SearchResult do_search(const PermutationObjective& objective, RandomStream, const SearchBudget& budget) const override {
    SearchRun run(objective, budget);
    run.start(identity_grouping(objective));
    run.start(objective.norm_sorted());
    Grouping grouping = run.best();
    for (bool improved = objective.energy() > 0; improved && !run.is_exhausted();) {
      const double before = run.best_value();
      for (const auto axis : {Axis::rows, Axis::columns}) improve(run, axis, grouping);
      run.count_iteration();
      improved = run.best_value() > before + least_gain;
    }
    return std::move(run).result(Convergence::Reason::converged);
  }

  static void improve(SearchRun& run, Axis axis, Grouping& grouping) {
    if (run.objective().group(axis) == 1) return;
    AxisMoves& moves = run.moves(axis, grouping);
    double value = moves.kept();
    while (!run.is_exhausted()) {
      const auto count = reassign(moves);
      run.count(count);
      moves.refresh();
      const double after = moves.kept();
      if (count.accepted == 0 || after <= value + least_gain * run.objective().energy()) break;
      value = after;
    }
    grouping.of(axis) = moves.order();
    run.offer(grouping);
  }

  static constexpr double least_gain = 1e-6;  ///< of the energy: single precision sees no less
};

}  // namespace

std::unique_ptr<PermutationSearch> make_coordinate_assignment_search() {
  return std::make_unique<CoordinateAssignmentSearch>();
}

}  // namespace kronlab::decompositions
