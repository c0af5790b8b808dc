#include "experiments/pipeline/budget_plan.hpp"

#include <algorithm>
#include <cmath>

#include "decompositions/budget/simple_allocations.hpp"
#include "experiments/pipeline/layer_pattern.hpp"

namespace kronlab::experiments {
namespace {

using decompositions::Allocation;
using decompositions::BudgetProblem;

std::vector<std::string> labels_of(const std::vector<MeasuredUnit>& units) {
  std::vector<std::string> labels{"dense"};
  for (const auto& unit : units) {
    for (const auto& choice : unit.choices) {
      if (std::ranges::find(labels, choice.label) == labels.end()) labels.push_back(choice.label);
    }
  }
  return labels;
}

double share_of(const MeasuredUnit& unit, const MeasuredChoice& choice) {
  return unit.dense_bytes > 0 ? choice.bytes / unit.dense_bytes : 1.0;
}

/// Of their dense bytes, what units with this label take, the mean.
double usual_share(const std::vector<MeasuredUnit>& units, const std::string& label) {
  double sum = 0.0, count = 0.0;
  for (const auto& unit : units) {
    for (const auto& choice : unit.choices) {
      if (choice.label == label) sum += share_of(unit, choice), ++count;
    }
  }
  return count > 0 ? sum / count : 1.0;
}

/// For each label the choice that the unit may have.
std::vector<std::optional<std::size_t>> options_of(const MeasuredUnit& unit, const std::vector<std::string>& labels,
                                                   const std::vector<double>& usual_shares, double at_least) {
  std::vector<std::optional<std::size_t>> options{std::nullopt};
  for (std::size_t place = 1; place < labels.size(); ++place) {
    std::optional<std::size_t> nearest;
    double distance = std::abs(1.0 - usual_shares[place]);
    for (std::size_t c = 0; c < unit.choices.size(); ++c) {
      const double share = share_of(unit, unit.choices[c]);
      if (share < at_least) continue;
      const double own = unit.choices[c].label == labels[place] ? -1.0 : std::abs(share - usual_shares[place]);
      if (own < distance) nearest = c, distance = own;
    }
    options.push_back(nearest);
  }
  return options;
}

void set_limits(BudgetProblem& problem, const BudgetSpec& spec, const Allocation& dense,
                const std::vector<MeasuredUnit>& units) {
  if (spec.bytes) problem.max_bytes = *spec.bytes * dense.bytes;
  if (spec.megabytes) problem.max_bytes = *spec.megabytes * 1e6;
  if (!spec.time) return;
  for (const auto& unit : units) {
    const auto is_unknown = [](const MeasuredChoice& choice) { return choice.seconds <= 0; };
    if (unit.dense_seconds <= 0 || std::ranges::any_of(unit.choices, is_unknown)) {
      throw ConfigError(
          fmt::format("budget.time: no time of '{}' was measured: runs with an [[evaluate]] measure it", unit.name));
    }
  }
  problem.max_seconds = *spec.time * dense.seconds;
}

bool is_kept_dense(const MeasuredUnit& unit, const std::vector<std::string>& kept) {
  return std::ranges::any_of(unit.layers,
                             [&](const auto& layer) { return std::ranges::find(kept, layer) != kept.end(); });
}

}  // namespace

BudgetPlan BudgetPlan::make(const BudgetSpec& spec, std::vector<MeasuredUnit> units) {
  BudgetPlan plan;
  plan.labels = labels_of(units);
  std::vector<std::string> layers;
  std::vector<double> usual_shares;
  for (const auto& unit : units) layers.insert(layers.end(), unit.layers.begin(), unit.layers.end());
  for (const auto& label : plan.labels) usual_shares.push_back(usual_share(units, label));
  const auto kept = spec.keep_dense.empty() ? std::vector<std::string>() : select_layers(spec.keep_dense, layers);
  for (const auto& unit : units) {
    plan.options.push_back(is_kept_dense(unit, kept) ? std::vector<std::optional<std::size_t>>{std::nullopt}
                                                     : options_of(unit, plan.labels, usual_shares, spec.at_least));
    auto& choices = plan.problem.units.emplace_back();
    for (const auto& option : plan.options.back()) {
      if (!option) {
        choices.push_back({0.0, unit.dense_bytes, unit.dense_seconds});
      } else {
        choices.push_back({unit.choices[*option].kl, unit.choices[*option].bytes, unit.choices[*option].seconds});
      }
    }
  }
  plan.problem.check();
  plan.dense = Allocation::of(plan.problem, std::vector<std::size_t>(units.size(), 0));
  set_limits(plan.problem, spec, plan.dense, units);
  plan.units = std::move(units);
  plan.best = decompositions::best_allocation(plan.problem, {.gap = spec.gap});
  plan.greedy = decompositions::greedy_allocation(plan.problem);
  plan.uniform = decompositions::uniform_allocation(plan.problem);
  return plan;
}

const MeasuredChoice* BudgetPlan::chosen(std::size_t unit) const {
  const auto& option = options.at(unit).at(best.allocation.choices.at(unit));
  return option ? &units[unit].choices[*option] : nullptr;
}

std::map<std::string, Index> BudgetPlan::counts() const {
  std::map<std::string, Index> result;
  for (std::size_t u = 0; u < units.size(); ++u) ++result[chosen(u) ? chosen(u)->label : "dense"];
  return result;
}

}  // namespace kronlab::experiments
