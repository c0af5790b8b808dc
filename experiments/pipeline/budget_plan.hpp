#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "decompositions/budget/best_allocation.hpp"
#include "experiments/pipeline/budget_spec.hpp"
#include "experiments/pipeline/measured_units.hpp"

namespace kronlab::experiments {

/// Which measured choice each unit gets, taking KL divergences of units to add up.
struct BudgetPlan {
  /// Places in the choices of the problem's units: the first one is dense, the others are as `labels` says. A unit that
  /// lacks a choice, or may not have it, has the one nearest in bytes there.
  std::vector<std::string> labels;
  std::vector<MeasuredUnit> units;
  std::vector<std::vector<std::optional<std::size_t>>> options;  ///< by unit and place: its choice; nothing: dense
  decompositions::BudgetProblem problem;
  decompositions::Allocation dense;
  decompositions::BestAllocation best;
  std::optional<decompositions::Allocation> greedy, uniform;

  /// @throws ConfigError on a limit that cannot be met (with the least possible), a pattern that fits no layer, or a
  /// limit of time where none was measured; DataError on a KL that is not finite
  static BudgetPlan make(const BudgetSpec& spec, std::vector<MeasuredUnit> units);

  /// Of the best allocation; null: dense.
  const MeasuredChoice* chosen(std::size_t unit) const;
  /// How many units have each label, "dense" too.
  std::map<std::string, Index> counts() const;
};

/// The plan as an experiment of one stage, with what `resolved` (of the profile's first run) says of model, student,
/// data and evaluations. Texts are compared with the model as it is; so is the one on which the profile was measured,
/// on the same tokens (but for one of each window where a window is as long as the model's context). The stage is trained
/// as `distill` says, where it is given.
std::string plan_toml(const BudgetPlan& plan, const config::Value& resolved, const config::Value* distill, Index context);

}  // namespace kronlab::experiments
