#include <algorithm>
#include <array>
#include <cmath>

#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

double log_odds(double probability) {
  const double p = std::clamp(probability, 1e-3, 1 - 1e-3);
  return std::log(p / (1 - p));
}

/// One axis as it cools: the temperature of an element is in proportion to its energy, so that small elements order when
/// large ones do, and it follows from how many elements move.
class AxisCooling {
 public:
  AxisCooling(const SearchRun& run, Axis axis) : energies_(run.objective().energies(axis)), temperatures_(energies_.size()) {}

  void start(AxisMoves& moves, double acceptance) { relative_ = temperature_for(moves, energies_, acceptance); }
  std::span<const double> temperatures() {
    std::ranges::transform(energies_, temperatures_.begin(), [&](double energy) { return relative_ * energy; });
    return temperatures_;
  }
  /// After a sweep in which a share `accepted` of the elements moved, where a share of `wanted` should have.
  void follow(double accepted, double wanted) {
    constexpr double rate = 0.15, most_down = -0.3, most_up = 0.1;
    relative_ *= std::exp(std::clamp(rate * (log_odds(wanted) - log_odds(accepted)), most_down, most_up));
  }

 private:
  std::vector<double> energies_, temperatures_;
  double relative_ = 0.0;
};

/// So many that nine tenths of the budget are enough for them.
Index temperatures_within_budget(const SearchRun& run, const AnnealOptions& options) {
  Index evaluated = 0;  // at one temperature
  for (const auto axis : {Axis::rows, Axis::columns}) {
    const Index m = run.objective().size(axis);
    if (run.objective().group(axis) > 1) evaluated += options.num_sweeps * m * (m - 1);
  }
  return std::min(options.num_temperatures, run.evaluations_left() / 10 * 9 / std::max<Index>(evaluated, 1));
}

/// One axis after the other as they cool; the grouping at the end, not the best one met.
Grouping annealed(SearchRun& run, const AnnealOptions& options, Grouping grouping, RandomStream& random) {
  constexpr double acceptance_at_start = 0.5;  // of the cold start: once it has melted, it is more
  std::array<std::optional<AxisCooling>, 2> coolings;
  for (const auto axis : {Axis::rows, Axis::columns}) {
    if (run.objective().group(axis) == 1) continue;
    auto& cooling = coolings[axis == Axis::rows ? 0 : 1].emplace(run, axis);
    cooling.start(run.moves(axis, grouping), acceptance_at_start);
  }
  const Index num_temperatures = temperatures_within_budget(run, options);
  const double last = static_cast<double>(std::max<Index>(num_temperatures - 1, 1));
  for (Index step = 0; step < num_temperatures; ++step) {
    const double acceptance = std::lerp(options.first_acceptance, options.last_acceptance, static_cast<double>(step) / last);
    for (const auto axis : {Axis::rows, Axis::columns}) {
      if (run.is_exhausted()) return grouping;
      auto& cooling = coolings[axis == Axis::rows ? 0 : 1];
      if (!cooling) continue;
      AxisMoves& moves = run.moves(axis, grouping);
      SweepCount count;
      for (Index sweep = 0; sweep < options.num_sweeps && !run.is_exhausted(); ++sweep) {
        count = heat_bath(moves, cooling->temperatures(), random);
        run.count(count);
      }
      cooling->follow(static_cast<double>(count.accepted) / static_cast<double>(moves.size()), acceptance);
      grouping.of(axis) = moves.order();
    }
    run.offer(grouping);
    run.count_iteration();
  }
  return grouping;
}

/// From the norm sort downhill by swaps, annealed from there, and downhill again.
Grouping anneal(SearchRun& run, const AnnealOptions& options, RandomStream& random) {
  return settled(run, annealed(run, options, settled(run, run.best(), descend), random), descend);
}

void expect_valid(const AnnealOptions& options) {
  if (options.num_temperatures < 1 || options.num_sweeps < 1) {
    throw ConfigError(fmt::format("anneal: {} temperatures of {} sweeps, expected at least one", options.num_temperatures, options.num_sweeps));
  }
  if (!(options.last_acceptance > 0) || !(options.first_acceptance >= options.last_acceptance) || !(options.first_acceptance < 1)) {
    throw ConfigError(fmt::format("anneal: acceptance from {} to {}, expected it falling between 1 and 0", options.first_acceptance,
                                  options.last_acceptance));
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
    if (objective.energy() > 0) anneal(run, options_, random);
    return std::move(run).result(Convergence::Reason::converged);
  }

  AnnealOptions options_;
};

/// Assignments from the norm sort and annealing from it, each as it is alone, and the best of all polished.
class PortfolioSearch final : public PermutationSearch {
 public:
  explicit PortfolioSearch(const AnnealOptions& options) : options_(options) { expect_valid(options); }
  std::string_view kind() const override { return "portfolio"; }

 private:
  SearchResult do_search(const PermutationObjective& objective, RandomStream random, const SearchBudget& budget) const override {
    SearchRun run(objective, budget);
    run.start_sorted();
    if (objective.energy() > 0) {
      const Grouping start = run.best();
      anneal(run, options_, random);
      settled(run, start, reassign);
      polished(run, run.best());
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
