#include "decompositions/budget/best_allocation.hpp"

#include <algorithm>

#include "decompositions/budget/integer_programme.hpp"
#include "decompositions/budget/simple_allocations.hpp"
#include "framework/base/error.hpp"

namespace kronlab::decompositions {
namespace {

/// The sum of each unit's fewest bytes, or least seconds.
double least_sum(const BudgetProblem& problem, double BudgetChoice::*member) {
  double sum = 0.0;
  for (const auto& unit : problem.units) sum += (*std::ranges::min_element(unit, {}, member)).*member;
  return sum;
}

void expect_each_limit_can_be_met(const BudgetProblem& problem) {
  const auto expect = [&](const std::optional<double>& limit, double BudgetChoice::*member, bool fits,
                          const char* what) {
    if (limit && !fits)
      throw ConfigError(fmt::format("budget: {} {} cannot be met, the least possible are {}", *limit, what,
                                    least_sum(problem, member)));
  };
  Allocation least;
  least.bytes = least_sum(problem, &BudgetChoice::bytes);
  expect(problem.max_bytes, &BudgetChoice::bytes, least.fits(BudgetProblem{{}, problem.max_bytes, {}}), "bytes");
  least.seconds = least_sum(problem, &BudgetChoice::seconds);
  expect(problem.max_seconds, &BudgetChoice::seconds, least.fits(BudgetProblem{{}, {}, problem.max_seconds}),
         "seconds");
}

/// Each limit can be met, but not both.
[[noreturn]] void fail_together(const BudgetProblem& problem) {
  BudgetProblem fastest{problem.units, problem.max_bytes, {}};
  for (auto& unit : fastest.units) {
    for (auto& choice : unit) choice.damage = choice.seconds;
  }
  throw ConfigError(fmt::format(
      "budget: {} bytes and {} seconds cannot be met together, the least possible within those bytes are {} seconds",
      *problem.max_bytes, *problem.max_seconds, best_allocation(fastest).lower_bound));
}

bool is_dominated(const BudgetChoice& one, const BudgetChoice& other) {
  return other.damage <= one.damage && other.bytes <= one.bytes && other.seconds <= one.seconds;
}

/// The problem without the choices that no best allocation needs, in costs and shares near 1.
struct Reduced {
  ChoiceProgramme programme;
  std::vector<std::vector<std::size_t>> choices;  ///< of the programme's columns
  double least_damage = 0.0;
  double scale = 1.0;  ///< damage beyond the least = scale * cost

  /// `most_damage`: beyond the least, of an allocation that is known.
  Reduced(const BudgetProblem& problem, double most_damage)
      : least_damage(decompositions::least_damage(problem).damage), scale(most_damage > 0 ? most_damage / 1e3 : 1.0) {
    programme.num_rows = static_cast<std::size_t>(problem.max_bytes.has_value()) +
                         static_cast<std::size_t>(problem.max_seconds.has_value());
    for (const auto& unit : problem.units) {
      const double least = std::ranges::min_element(unit, {}, &BudgetChoice::damage)->damage;
      std::vector<std::size_t> kept;
      for (std::size_t c = 0; c < unit.size(); ++c) {
        const bool may_be_used = unit[c].damage - least <= most_damage * (1 + 1e-9) && fits_alone(problem, unit[c]);
        const auto is_better = [&](const BudgetChoice& other) {  // of equal choices the first one stays
          return is_dominated(unit[c], other) && (&other < &unit[c] || !is_dominated(other, unit[c]));
        };
        if (may_be_used && std::ranges::none_of(unit, is_better)) kept.push_back(c);
      }
      std::vector<ChoiceProgramme::Column> columns;
      for (const std::size_t c : kept) columns.push_back({(unit[c].damage - least) / scale, shares(problem, unit[c])});
      programme.groups.push_back(std::move(columns));
      choices.push_back(std::move(kept));
    }
  }
  /// Beside nothing.
  static bool fits_alone(const BudgetProblem& problem, const BudgetChoice& choice) {
    Allocation alone;
    alone.bytes = choice.bytes, alone.seconds = choice.seconds;
    return alone.fits(problem);
  }
  static std::vector<double> shares(const BudgetProblem& problem, const BudgetChoice& choice) {
    std::vector<double> result;
    if (problem.max_bytes) result.push_back(choice.bytes > 0 ? choice.bytes / *problem.max_bytes : 0.0);
    if (problem.max_seconds) result.push_back(choice.seconds > 0 ? choice.seconds / *problem.max_seconds : 0.0);
    return result;
  }
  bool has_empty_group() const { return std::ranges::any_of(choices, &std::vector<std::size_t>::empty); }
  Allocation allocation(const BudgetProblem& problem, const std::vector<std::size_t>& columns) const {
    std::vector<std::size_t> result;
    for (std::size_t u = 0; u < columns.size(); ++u) result.push_back(choices[u][columns[u]]);
    return Allocation::of(problem, std::move(result));
  }
};

/// The better one that fits.
void improve(std::optional<Allocation>& best, std::optional<Allocation> other, const BudgetProblem& problem) {
  if (other && other->fits(problem) && (!best || other->damage < best->damage)) best = std::move(other);
}

/// Of damages beyond each unit's least.
double largest_sum(const BudgetProblem& problem) {
  double sum = 0.0;
  for (const auto& unit : problem.units) {
    const auto [least, most] = std::ranges::minmax_element(unit, {}, &BudgetChoice::damage);
    sum += most->damage - least->damage;
  }
  return sum;
}

}  // namespace

BestAllocation best_allocation(const BudgetProblem& problem, const AllocationOptions& options) {
  problem.check();
  if (!(options.gap >= 0)) throw ConfigError(fmt::format("budget: a gap of {}, expected 0 or more", options.gap));
  if (!(options.time_limit_s > 0))
    throw ConfigError(fmt::format("budget: a time limit of {} s, expected more than 0", options.time_limit_s));
  expect_each_limit_can_be_met(problem);
  auto unlimited = least_damage(problem);
  if (unlimited.fits(problem)) {
    const double damage = unlimited.damage;
    return {std::move(unlimited), damage, 0.0};
  }
  std::optional<Allocation> best = greedy_allocation(problem);
  improve(best, uniform_allocation(problem), problem);
  const Reduced reduced(problem, best ? best->damage - unlimited.damage : largest_sum(problem));
  if (reduced.has_empty_group()) fail_together(problem);
  auto programme = reduced.programme;
  std::optional<double> bound;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto result = solve(programme, options.gap, options.time_limit_s);
    if (result.is_infeasible && !best) fail_together(problem);
    if (!bound) bound = reduced.least_damage + reduced.scale * result.lower_bound;
    if (!result.columns) break;
    auto found = reduced.allocation(problem, *result.columns);
    if (found.fits(problem)) {
      improve(best, std::move(found), problem);
      break;
    }
    for (auto& group : programme.groups) {  // beyond a limit by the solver's tolerance
      for (auto& column : group) {
        for (auto& share : column.shares) share *= 1 + 1e-9;
      }
    }
  }
  if (!best) throw ConfigError(fmt::format("budget: nothing that fits was found in {} s", options.time_limit_s));
  const double lower_bound = std::min(bound.value_or(unlimited.damage), best->damage),
               beyond = best->damage - unlimited.damage;
  return {*best, lower_bound, beyond > 0 ? (best->damage - lower_bound) / beyond : 0.0};
}

}  // namespace kronlab::decompositions
