#pragma once

#include <optional>

#include "decompositions/budget/budget_problem.hpp"

namespace kronlab::decompositions {

// What an exact allocation is compared with. Nothing where the rule ends outside the limits, which need not mean that
// nothing fits.

/// From each unit's least damage on, one step after another, that which adds least damage for what it takes off the
/// excess: bytes and seconds as shares of their limits, where a limit is exceeded. With one limit the steps go along
/// each unit's lower convex hull of damage over bytes. @throws as BudgetProblem::check
std::optional<Allocation> greedy_allocation(const BudgetProblem& problem);

/// The same choice for all units, by its place; units with fewer choices take their last one. The one of least damage
/// within the limits. @throws as BudgetProblem::check
std::optional<Allocation> uniform_allocation(const BudgetProblem& problem);

}  // namespace kronlab::decompositions
