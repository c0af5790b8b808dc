#include "decompositions/budget/simple_allocations.hpp"

#include <algorithm>

namespace kronlab::decompositions {
namespace {

double excess(double sum, const std::optional<double>& limit) { return limit ? std::max(0.0, sum - *limit) : 0.0; }

/// As a share of a limit that is exceeded; of a limit of 0 as it is.
double saving(double from, double to, double over, const std::optional<double>& limit) {
  if (over <= 0) return 0.0;
  return (from - to) / (*limit > 0 ? *limit : 1.0);
}

/// Another choice for one unit.
struct Step {
  std::size_t unit = 0, choice = 0;
  double damage = 0.0;  ///< that it adds
  double saving = 0.0;  ///< of the excess
  bool is_better_than(const Step& other) const {
    const double own = damage * other.saving, others = other.damage * saving;  // damage / saving, without a division
    return own != others ? own < others : saving > other.saving;
  }
};

/// The best step from here that leaves no limit exceeded more than it is.
std::optional<Step> best_step(const BudgetProblem& problem, const Allocation& at) {
  const double over_bytes = excess(at.bytes, problem.max_bytes), over_seconds = excess(at.seconds, problem.max_seconds);
  std::optional<Step> best;
  for (std::size_t u = 0; u < problem.units.size(); ++u) {
    const auto& from = problem.units[u][at.choices[u]];
    for (std::size_t c = 0; c < problem.units[u].size(); ++c) {
      const auto& to = problem.units[u][c];
      if (excess(at.bytes + (to.bytes - from.bytes), problem.max_bytes) > over_bytes) continue;
      if (excess(at.seconds + (to.seconds - from.seconds), problem.max_seconds) > over_seconds) continue;
      // What is saved below a limit counts too, so that the rate does not depend on how near the end is.
      const Step step{u, c, to.damage - from.damage,
                      saving(from.bytes, to.bytes, over_bytes, problem.max_bytes) +
                          saving(from.seconds, to.seconds, over_seconds, problem.max_seconds)};
      if (step.saving > 0 && (!best || step.is_better_than(*best))) best = step;
    }
  }
  return best;
}

}  // namespace

std::optional<Allocation> greedy_allocation(const BudgetProblem& problem) {
  problem.check();
  Allocation at = least_damage(problem);
  while (!at.fits(problem)) {
    const auto step = best_step(problem, at);
    if (!step) return std::nullopt;
    at.choices[step->unit] = step->choice;
    at = Allocation::of(problem, std::move(at.choices));
  }
  return at;
}

std::optional<Allocation> uniform_allocation(const BudgetProblem& problem) {
  problem.check();
  std::size_t most = 0;
  for (const auto& unit : problem.units) most = std::max(most, unit.size());
  std::optional<Allocation> best;
  for (std::size_t place = 0; place < most; ++place) {
    std::vector<std::size_t> choices;
    for (const auto& unit : problem.units) choices.push_back(std::min(place, unit.size() - 1));
    auto all = Allocation::of(problem, std::move(choices));
    if (all.fits(problem) && (!best || all.damage < best->damage)) best = std::move(all);
  }
  return best;
}

}  // namespace kronlab::decompositions
