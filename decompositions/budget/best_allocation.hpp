#pragma once

#include "decompositions/budget/budget_problem.hpp"

namespace kronlab::decompositions {

struct AllocationOptions {
  double gap = 1e-3;           ///< at which the search may end; 0: with a proof
  double time_limit_s = 60.0;  ///< after which it ends with the gap that it has
};

/// The best allocation that was found, and how much better another could be.
struct BestAllocation {
  Allocation allocation;
  double lower_bound = 0.0;  ///< no allocation within the limits does less damage
  double gap = 0.0;          ///< between both, as a share of the damage beyond that of least_damage()
};

/// The allocation of least damage within the limits: a multiple-choice knapsack, for two limits a two-dimensional one,
/// as a mixed integer programme. Never worse than greedy_allocation and uniform_allocation.
///
/// At most 1 s for 210 units of 12 choices at a gap of 1e-3; a proof of the optimum can take much longer where damage
/// follows bytes.
///
/// Kellerer, Pferschy, Pisinger, Knapsack Problems, 2004, chapter 11 (the problem). Solver: branch and cut of COIN-OR's
/// Cbc.
/// @throws as BudgetProblem::check; ConfigError where nothing fits, with the least possible
BestAllocation best_allocation(const BudgetProblem& problem, const AllocationOptions& options = {});

}  // namespace kronlab::decompositions
