#include "decompositions/budget/budget_problem.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "framework/base/error.hpp"
#include "framework/base/types.hpp"

namespace kronlab::decompositions {
namespace {

/// Relative; sums of thousands of terms are off by less.
constexpr double rounding = 1e-12;

bool is_within(double sum, const std::optional<double>& limit) { return !limit || sum <= *limit * (1 + rounding); }

void expect_size(double value, const char* what, std::size_t unit, std::size_t choice) {
  if (std::isfinite(value) && value >= 0) return;
  throw DataError(fmt::format("budget: choice {} of unit {} has {} {}, expected a finite number from 0 on", choice,
                              unit, value, what));
}

void expect_limit(const std::optional<double>& limit, const char* what) {
  if (!limit || (std::isfinite(*limit) && *limit >= 0)) return;
  throw ConfigError(fmt::format("budget: a limit of {} {}, expected a finite number from 0 on", *limit, what));
}

}  // namespace

void BudgetProblem::check() const {
  if (units.empty()) throw DataError("budget: no unit to choose for");
  for (std::size_t u = 0; u < units.size(); ++u) {
    if (units[u].empty()) throw DataError(fmt::format("budget: unit {} has no choice", u));
    for (std::size_t c = 0; c < units[u].size(); ++c) {
      const auto& [damage, bytes, seconds] = units[u][c];
      if (!std::isfinite(damage))
        throw DataError(
            fmt::format("budget: choice {} of unit {} has a damage of {}, expected a finite number", c, u, damage));
      expect_size(bytes, "bytes", u, c);
      expect_size(seconds, "seconds", u, c);
    }
  }
  expect_limit(max_bytes, "bytes");
  expect_limit(max_seconds, "seconds");
}

Allocation Allocation::of(const BudgetProblem& problem, std::vector<std::size_t> choices) {
  KRONLAB_EXPECTS(choices.size() == problem.units.size(), "budget: {} choices for {} units", choices.size(),
                  problem.units.size());
  Allocation result;
  for (std::size_t u = 0; u < choices.size(); ++u) {
    const auto& choice = problem.units[u].at(choices[u]);
    result.damage += choice.damage, result.bytes += choice.bytes, result.seconds += choice.seconds;
  }
  result.choices = std::move(choices);
  return result;
}

bool Allocation::fits(const BudgetProblem& problem) const {
  return is_within(bytes, problem.max_bytes) && is_within(seconds, problem.max_seconds);
}

Allocation least_damage(const BudgetProblem& problem) {
  std::vector<std::size_t> choices;
  for (const auto& unit : problem.units) {
    const auto key = [](const BudgetChoice& choice) { return std::tuple(choice.damage, choice.bytes, choice.seconds); };
    choices.push_back(static_cast<std::size_t>(std::ranges::min_element(unit, {}, key) - unit.begin()));
  }
  return Allocation::of(problem, std::move(choices));
}

}  // namespace kronlab::decompositions
