#include <cmath>

#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

class AnnealSearch final : public PermutationSearch {
 public:
  explicit AnnealSearch(const AnnealOptions& options) : options_(options) {
    if (options.num_temperatures < 1 || options.num_sweeps < 1) {
      throw ConfigError(fmt::format("anneal: {} temperatures of {} sweeps, expected at least one", options.num_temperatures, options.num_sweeps));
    }
    if (!(options.coldest > 0) || !(options.hottest >= options.coldest)) {
      throw ConfigError(fmt::format("anneal: temperatures from {} to {}, expected them positive and falling", options.hottest, options.coldest));
    }
  }
  std::string_view kind() const override { return "anneal"; }

 private:
  SearchResult do_search(const PermutationObjective& objective, RandomStream random, const SearchBudget& budget) const override {
    SearchRun run(objective, budget);
    run.start(identity_grouping(objective));
    run.start(objective.norm_sorted());
    if (objective.energy() > 0) polished(run, annealed(run, run.best(), random));
    return std::move(run).result(Convergence::Reason::converged);
  }

  Grouping annealed(SearchRun& run, Grouping grouping, RandomStream& random) const {
    double scale[2] = {0, 0};
    const double steps = static_cast<double>(std::max<Index>(options_.num_temperatures - 1, 1));
    for (Index step = 0; step < options_.num_temperatures; ++step) {
      const double relative = options_.hottest * std::pow(options_.coldest / options_.hottest, static_cast<double>(step) / steps);
      for (const auto axis : {Axis::rows, Axis::columns}) {
        if (run.is_exhausted()) return grouping;
        if (run.objective().group(axis) == 1) continue;
        AxisMoves& moves = run.moves(axis, grouping);
        double& unit = scale[axis == Axis::rows ? 0 : 1];
        if (step == 0) unit = spread_of_gains(moves);
        if (unit == 0) continue;
        for (Index sweep = 0; sweep < options_.num_sweeps; ++sweep) {
          if (sweep > 0) moves.refresh();
          run.count(heat_bath(moves, relative * unit, random));
        }
        grouping.of(axis) = moves.order();
      }
      run.offer(grouping);
      run.count_iteration();
    }
    return grouping;
  }

  AnnealOptions options_;
};

}  // namespace

std::unique_ptr<PermutationSearch> make_anneal_search(const AnnealOptions& options) {
  return std::make_unique<AnnealSearch>(options);
}

}  // namespace kronlab::decompositions
