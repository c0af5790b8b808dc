#include <algorithm>
#include <filesystem>

#include "experiments/pipeline/budget_plan.hpp"

namespace kronlab::experiments {
namespace {

using config::Value;

constexpr std::size_t line_width = 110;

/// Words in lines, each line after the first behind `indent`.
std::string wrapped(const std::vector<std::string>& words, const std::string& indent) {
  std::string text;
  std::size_t width = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i] + (i + 1 < words.size() ? "," : "");
    if (width > 0 && width + 1 + word.size() > line_width) {
      text += "\n" + indent, width = 0;
    } else if (width > 0) {
      text += ' ', ++width;
    }
    text += word, width += word.size();
  }
  return text;
}

/// Units with the same method.
struct Part {
  const MeasuredChoice* choice = nullptr;
  std::size_t num_units = 0;
  std::vector<std::string> layers;
};

std::vector<Part> parts_of(const BudgetPlan& plan) {
  std::vector<Part> parts;
  for (std::size_t u = 0; u < plan.units.size(); ++u) {
    const auto* choice = plan.chosen(u);
    if (!choice) continue;
    const auto is_same = [&](const Part& part) {
      return config::to_text(part.choice->part) == config::to_text(choice->part);
    };
    auto place = std::ranges::find_if(parts, is_same);
    if (place == parts.end()) place = parts.insert(parts.end(), {choice, 0, {}});
    ++place->num_units;
    place->layers.insert(place->layers.end(), plan.units[u].layers.begin(), plan.units[u].layers.end());
  }
  return parts;
}

std::string stage_toml(const BudgetPlan& plan, const Value* distill) {
  const auto parts = parts_of(plan);
  if (parts.empty()) return "";
  std::string text = fmt::format("[[stage]]\nname = \"plan\"\npredicted_kl = {}\n",
                                 config::to_text(Value(plan.best.allocation.damage)));
  if (distill) text += fmt::format("distill = {}\n", config::to_text(*distill));
  for (const auto& part : parts) {
    std::vector<std::string> names;
    for (const auto& layer : part.layers) names.push_back(config::to_text(Value(layer)));
    text += fmt::format("\n[[stage.part]]  # {} unit(s): {}\nlayers = [{}]\n", part.num_units, part.choice->label,
                        wrapped(names, "  "));
    for (const auto& [key, value] : *part.choice->part.as<Value::Table>())
      text += fmt::format("{} = {}\n", key, config::to_text(value));
  }
  return text;
}

/// The windows of the profile's text, each with one token more, since the first one of a window is not predicted.
Value profile_evaluation(const Value& sensitivity, Index context) {
  const Index window = *config::value_at(sensitivity, "window")->as<Index>(),
              tokens = *config::value_at(sensitivity, "tokens")->as<Index>();
  const std::string path = *config::value_at(sensitivity, "path")->as<std::string>();
  Value evaluation;
  config::assign(evaluation, "dataset.name", std::filesystem::path(path).stem().string() + ", as profiled");
  config::assign(evaluation, "dataset.path", path);
  config::assign(evaluation, "protocol.window", std::min(window + 1, context));
  config::assign(evaluation, "protocol.stride", std::min(window, context));
  config::assign(evaluation, "max_windows", tokens / window);
  config::assign(evaluation, "divergence", true);
  return evaluation;
}

Value evaluations_of(const Value& resolved, Index context) {
  Value::Array result;
  if (const Value* given = config::value_at(resolved, "evaluate")) result = *given->as<Value::Array>();
  for (auto& evaluation : result) {
    const Value* kind = config::value_at(evaluation, "protocol.kind");
    if (!kind || *kind->as<std::string>() != "last-word") config::assign(evaluation, "divergence", true);
  }
  if (const Value* sensitivity = config::value_at(resolved, "stage.0.sensitivity"))
    result.push_back(profile_evaluation(*sensitivity, context));
  return Value(std::move(result));
}

std::string head_comment(const BudgetPlan& plan) {
  const auto& [allocation, bound, gap] = plan.best;
  std::string text = fmt::format(
      "# `kronlab budget`: {:.1f} of {:.1f} MB in {} unit(s), predicted KL {:.6g} (at least {:.6g}: gap {:.1e})\n",
      allocation.bytes / 1e6, plan.dense.bytes / 1e6, plan.units.size(), allocation.damage, bound, gap);
  std::vector<std::string> dense;
  for (std::size_t u = 0; u < plan.units.size(); ++u) {
    if (!plan.chosen(u)) dense.push_back(plan.units[u].name);
  }
  if (!dense.empty()) text += fmt::format("# {} unit(s) stay dense: {}\n", dense.size(), wrapped(dense, "#   "));
  return text;
}

}  // namespace

std::string plan_toml(const BudgetPlan& plan, const Value& resolved, const Value* distill, Index context) {
  std::string text = head_comment(plan);
  Value base = resolved;
  config::assign(base, "experiment.name", *config::value_at(resolved, "experiment.name")->as<std::string>() + " plan");
  config::assign(base, "evaluate", evaluations_of(resolved, context));
  for (const char* key : {"experiment", "model", "student", "data", "parallel", "evaluate"}) {
    const Value* value = config::value_at(base, key);
    if (value) text += "\n" + config::to_toml(Value(Value::Table{{key, *value}}));
  }
  return text + "\n" + stage_toml(plan, distill);
}

}  // namespace kronlab::experiments
