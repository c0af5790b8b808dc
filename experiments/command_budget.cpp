#include <filesystem>
#include <nlohmann/json.hpp>

#include "experiments/commands.hpp"
#include "experiments/pipeline/budget_plan.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::experiments {
namespace {

using decompositions::Allocation;
using nlohmann::json;

struct NamedAllocation {
  const char* name;
  const Allocation* allocation;  ///< null: the rule ends outside the limits
};

std::vector<NamedAllocation> allocations_of(const BudgetPlan& plan) {
  return {{"dense", &plan.dense},
          {"best", &plan.best.allocation},
          {"greedy", plan.greedy ? &*plan.greedy : nullptr},
          {"uniform", plan.uniform ? &*plan.uniform : nullptr}};
}

json to_json(const BudgetPlan& plan, const std::string& toml) {
  json all = json::object(), units = json::array();
  for (const auto& [name, allocation] : allocations_of(plan)) {
    all[name] =
        allocation
            ? json{{"predicted_kl", allocation->damage}, {"bytes", allocation->bytes}, {"seconds", allocation->seconds}}
            : json();
  }
  all["best"]["lower_bound"] = plan.best.lower_bound, all["best"]["gap"] = plan.best.gap;
  for (std::size_t u = 0; u < plan.units.size(); ++u) {
    units.push_back({{"name", plan.units[u].name},
                     {"layers", plan.units[u].layers},
                     {"choice", plan.chosen(u) ? plan.chosen(u)->label : "dense"}});
  }
  return {{"allocations", all}, {"units", units}, {"plan", toml}};
}

std::string percent(double part, double whole) { return whole > 0 ? fmt::format("{:.1f} %", 100 * part / whole) : "-"; }

void print_allocations(const BudgetPlan& plan) {
  using enum TextTable::Align;
  TextTable table{{{"", left},
                   {"predicted KL", right},
                   {"stored", right},
                   {"of dense", right},
                   {"time of a token", right},
                   {"of dense", right}},
                  {}};
  for (const auto& [name, allocation] : allocations_of(plan)) {
    if (!allocation) {
      table.rows.push_back({name, "does not fit", "-", "-", "-", "-"});
      continue;
    }
    const bool has_time = plan.dense.seconds > 0;
    table.rows.push_back({name, format_number(allocation->damage), format_bytes(allocation->bytes),
                          percent(allocation->bytes, plan.dense.bytes),
                          has_time ? fmt::format("{:.3f} ms", 1e3 * allocation->seconds) : "-",
                          percent(allocation->seconds, plan.dense.seconds)});
  }
  fmt::print("{}\n", table.print(TextTable::Format::text));
  fmt::print("best: no allocation is below {}, gap {:.1e}\n\n", format_number(plan.best.lower_bound), plan.best.gap);
}

std::string block_name(const BudgetPlan& plan, Index block) {
  if (block >= 0) return std::to_string(block);
  for (const auto& unit : plan.units) {
    if (unit.block == block) return unit.name;
  }
  return "";
}

/// How many units have each choice, by block.
void print_blocks(const BudgetPlan& plan) {
  std::map<Index, std::map<std::string, Index>> blocks;
  for (std::size_t u = 0; u < plan.units.size(); ++u)
    ++blocks[plan.units[u].block][plan.chosen(u) ? plan.chosen(u)->label : "dense"];
  TextTable table{{{"block", TextTable::Align::left}}, {}};
  const auto all = plan.counts();
  std::vector<std::string> labels;
  for (const auto& label : plan.labels) {
    if (all.contains(label)) labels.push_back(label), table.columns.push_back({label, TextTable::Align::right});
  }
  const auto add = [&](const std::string& name, const std::map<std::string, Index>& counts) {
    std::vector<std::string> row{name};
    for (const auto& label : labels) row.push_back(counts.contains(label) ? std::to_string(counts.at(label)) : "");
    table.rows.push_back(std::move(row));
  };
  for (const auto& [block, counts] : blocks) add(block_name(plan, block), counts);
  add("all", all);
  fmt::print("{}\n", table.print(TextTable::Format::text));
}

void plan_and_print(const std::vector<config::RunSpec>& runs, const BudgetArguments& arguments) {
  const std::string parent = std::filesystem::path(arguments.sweep.file).parent_path().string(),
                    folder = parent.empty() ? "." : parent;
  const auto spec = ExperimentSpec::read(runs.front().config, folder);
  if (!spec.budget)
    throw ConfigError(fmt::format("{}: there is no [budget]: give bytes or time, as shares of what dense units take",
                                  arguments.sweep.file));
  const auto plan = BudgetPlan::make(*spec.budget, measured_units(runs, folder, arguments.store));
  if (plan.best.gap > spec.budget->gap)
    log_warning(fmt::format("the search ended with a gap of {:.1e}, above {:.1e}", plan.best.gap, spec.budget->gap));
  const auto toml = plan_toml(plan, spec.resolved, config::value_at(runs.front().config, "distill"), ModelAccess(spec.model.path).config().context);
  if (!arguments.out.empty()) write_file_atomically(arguments.out, toml);
  if (arguments.as_json) {
    fmt::print("{}\n", to_json(plan, toml).dump(2));
    return;
  }
  print_allocations(plan);
  print_blocks(plan);
  if (arguments.out.empty()) {
    fmt::print("{}", toml);
  } else {
    fmt::print("plan written to {}: `kronlab check` prints it, `kronlab run` runs it\n", arguments.out);
  }
}

}  // namespace

int budget(const comm::Communicator& world, const BudgetArguments& arguments) {
  const auto runs = load_sweep(world, arguments.sweep);
  comm::coordinate(world, [&] {
    if (world.is_root()) plan_and_print(runs, arguments);
  });
  return 0;
}

}  // namespace kronlab::experiments
