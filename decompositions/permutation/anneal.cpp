#include <algorithm>
#include <cmath>

#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

/// One axis after the other at falling temperatures; the grouping at the end, not the best one met.
Grouping annealed(SearchRun& run, const AnnealOptions& options, Grouping grouping, RandomStream& random) {
  double unit[2] = {0, 0};
  const double steps = static_cast<double>(std::max<Index>(options.num_temperatures - 1, 1));
  for (Index step = 0; step < options.num_temperatures; ++step) {
    const double relative = options.hottest * std::pow(options.coldest / options.hottest, static_cast<double>(step) / steps);
    for (const auto axis : {Axis::rows, Axis::columns}) {
      if (run.is_exhausted()) return grouping;
      if (run.objective().group(axis) == 1) continue;
      AxisMoves& moves = run.moves(axis, grouping);
      double& spread = unit[axis == Axis::rows ? 0 : 1];
      if (step == 0) spread = spread_of_gains(moves);
      if (spread == 0) continue;
      for (Index sweep = 0; sweep < options.num_sweeps && !run.is_exhausted(); ++sweep) {
        run.count(heat_bath(moves, relative * spread, random));
      }
      grouping.of(axis) = moves.order();
    }
    run.offer(grouping);
    run.count_iteration();
  }
  return grouping;
}

void expect_valid(const AnnealOptions& options) {
  if (options.num_temperatures < 1 || options.num_sweeps < 1) {
    throw ConfigError(fmt::format("anneal: {} temperatures of {} sweeps, expected at least one", options.num_temperatures, options.num_sweeps));
  }
  if (!(options.coldest > 0) || !(options.hottest >= options.coldest)) {
    throw ConfigError(fmt::format("anneal: temperatures from {} to {}, expected them positive and falling", options.hottest, options.coldest));
  }
}

class AnnealSearch final : public PermutationSearch {
 public:
  explicit AnnealSearch(const AnnealOptions& options) : options_(options) { expect_valid(options); }
  std::string_view kind() const override { return "anneal"; }

 private:
  SearchResult do_search(const PermutationObjective& objective, RandomStream random, const SearchBudget& budget) const override {
    SearchRun run(objective, budget);
    run.start_sorted();
    if (objective.energy() > 0) polished(run, annealed(run, options_, run.best(), random));
    return std::move(run).result(Convergence::Reason::converged);
  }

  AnnealOptions options_;
};

/// The polished start first, then annealing from it, polished too: never worse than either alone.
class PortfolioSearch final : public PermutationSearch {
 public:
  explicit PortfolioSearch(const AnnealOptions& options) : options_(options) { expect_valid(options); }
  std::string_view kind() const override { return "portfolio"; }

 private:
  SearchResult do_search(const PermutationObjective& objective, RandomStream random, const SearchBudget& budget) const override {
    SearchRun run(objective, budget);
    run.start_sorted();
    if (objective.energy() > 0) {
      Grouping grouping = polished(run, run.best());
      polished(run, annealed(run, options_, std::move(grouping), random));
    }
    return std::move(run).result(Convergence::Reason::converged);
  }

  AnnealOptions options_;
};

}  // namespace

std::unique_ptr<PermutationSearch> make_anneal_search(const AnnealOptions& options) {
  return std::make_unique<AnnealSearch>(options);
}

std::unique_ptr<PermutationSearch> make_portfolio_search(const AnnealOptions& options) {
  return std::make_unique<PortfolioSearch>(options);
}

}  // namespace kronlab::decompositions
