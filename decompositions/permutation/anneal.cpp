#include <algorithm>
#include <cmath>

#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

double log_odds(double probability) {
  const double p = std::clamp(probability, 1e-3, 1 - 1e-3);
  return std::log(p / (1 - p));
}

/// A temperature after sweeps of which a share `accepted` of the elements moved in the last, where `wanted` should have.
double steered(double temperature, double accepted, double wanted) {
  constexpr double rate = 0.15, most_down = -0.3, most_up = 0.1;
  return temperature * std::exp(std::clamp(rate * (log_odds(wanted) - log_odds(accepted)), most_down, most_up));
}

/// The temperature of an element is in proportion to its energy, so that small elements order when large ones do.
std::vector<double> temperatures(std::vector<double> energies, double relative) {
  for (double& energy : energies) energy *= relative;
  return energies;
}

/// So many that nine tenths of what is left of the budget are enough for them; `evaluated` at one temperature.
Index temperatures_within(Index budget, const AnnealOptions& options, Index evaluated) {
  return std::min(options.num_temperatures, budget / 10 * 9 / std::max<Index>(evaluated, 1));
}

/// The state at the start: from the norm sort downhill by swaps, at temperatures where half of the elements would move.
/// Once it has melted, more will.
AnnealState cold_start(SearchRun& run, const AnnealOptions& options) {
  constexpr double acceptance = 0.5;
  AnnealState state;
  state.grouping = settled(run, run.best(), descend);
  Index evaluated = 0;  // at one temperature
  for (const auto axis : {Axis::rows, Axis::columns}) {
    if (run.objective().group(axis) == 1) continue;
    const Index m = run.objective().size(axis);
    evaluated += options.num_sweeps * m * (m - 1);
    state.relative_temperature(axis) = temperature_for(run.moves(axis, state.grouping), run.objective().energies(axis), acceptance);
  }
  state.num_steps = temperatures_within(run.evaluations_left(), options, evaluated);
  return state;
}

/// One axis after the other as they cool. Leaves the grouping at the end, not the best one met.
void cool(SearchRun& run, const AnnealOptions& options, AnnealState& state, const RandomStream& random) {
  const std::vector<double> energies[] = {run.objective().energies(Axis::rows), run.objective().energies(Axis::columns)};
  const double last = static_cast<double>(std::max<Index>(state.num_steps - 1, 1));
  for (Index& step = state.next_step; step < state.num_steps;) {
    RandomStream draws = random.child(static_cast<std::uint64_t>(step));
    const double acceptance = std::lerp(options.first_acceptance, options.last_acceptance, static_cast<double>(step) / last);
    for (const auto axis : {Axis::rows, Axis::columns}) {
      if (run.is_exhausted()) return;
      if (run.objective().group(axis) == 1) continue;
      double& relative = state.relative_temperature(axis);
      const auto by_element = temperatures(energies[axis == Axis::rows ? 0 : 1], relative);
      AxisMoves& moves = run.moves(axis, state.grouping);
      SweepCount count;
      for (Index sweep = 0; sweep < options.num_sweeps && !run.is_exhausted(); ++sweep) {
        count = heat_bath(moves, by_element, draws);
        run.count(count);
      }
      relative = steered(relative, static_cast<double>(count.accepted) / static_cast<double>(moves.size()), acceptance);
      state.grouping.of(axis) = moves.order();
    }
    constexpr Index steps_between_offers = 4;  // a value from scratch is a fortieth of a step
    if (++step % steps_between_offers == 0) run.offer(state.grouping);
    run.count_iteration();
    run.checkpoint(state);
  }
}

/// Annealed and polished.
void anneal(SearchRun& run, const AnnealOptions& options, const RandomStream& random) {
  const auto saved = run.resume();
  AnnealState state = saved ? *saved : cold_start(run, options);
  cool(run, options, state, random);
  polished(run, state.grouping);
}

void expect_valid(const AnnealOptions& options) {
  if (options.num_temperatures < 1 || options.num_sweeps < 1 || options.num_starts < 1) {
    throw ConfigError(fmt::format("anneal: {} starts, {} temperatures of {} sweeps, expected at least one of each", options.num_starts,
                                  options.num_temperatures, options.num_sweeps));
  }
  if (!(options.last_acceptance > 0) || !(options.first_acceptance >= options.last_acceptance) || !(options.first_acceptance < 1)) {
    throw ConfigError(fmt::format("anneal: acceptance from {} to {}, expected it falling between 1 and 0", options.first_acceptance,
                                  options.last_acceptance));
  }
}

/// Sweeps, and products at each temperature.
double cost_of(const AnnealOptions& options, Index rows, Index cols, const SearchBudget& budget) {
  const auto m = static_cast<double>(rows), n = static_cast<double>(cols);
  const double multiply_adds_of_a_move = 24;
  return static_cast<double>(temperatures_within(budget.max_evaluations, options, options.num_sweeps * (rows * rows + cols * cols))) *
         (static_cast<double>(options.num_sweeps) * multiply_adds_of_a_move * (m * m + n * n) + m * n * (m + n));
}

class AnnealSearch final : public PermutationSearch {
 public:
  explicit AnnealSearch(const AnnealOptions& options) : options_(options) { expect_valid(options); }
  std::string_view kind() const override { return "anneal"; }
  Index num_starts() const override { return options_.num_starts; }
  double cost(Index rows, Index cols, const SearchBudget& budget) const override { return cost_of(options_, rows, cols, budget); }

 private:
  Convergence::Reason do_search(SearchRun& run, RandomStream random) const override {
    run.start_sorted();
    if (run.objective().energy() > 0) anneal(run, options_, random);
    return Convergence::Reason::converged;
  }

  AnnealOptions options_;
};

/// Annealing from the norm sort and assignments from it, each as it is alone, and the best of all polished.
class PortfolioSearch final : public PermutationSearch {
 public:
  explicit PortfolioSearch(const AnnealOptions& options) : options_(options) { expect_valid(options); }
  std::string_view kind() const override { return "portfolio"; }
  Index num_starts() const override { return options_.num_starts; }
  double cost(Index rows, Index cols, const SearchBudget& budget) const override { return cost_of(options_, rows, cols, budget); }

 private:
  Convergence::Reason do_search(SearchRun& run, RandomStream random) const override {
    run.start_sorted();
    if (run.objective().energy() > 0) {
      const Grouping start = run.best();
      anneal(run, options_, random);
      settled(run, start, reassign);
      polished(run, run.best());
    }
    return Convergence::Reason::converged;
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
