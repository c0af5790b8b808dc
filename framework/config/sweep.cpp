#include "framework/config/sweep.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "framework/base/hash.hpp"
#include "framework/config/sweep_axes.hpp"

namespace kronlab::config {
namespace {

std::size_t num_values(const Value& value) {
  std::size_t count = 1;
  if (const auto* table = value.as<Value::Table>()) {
    for (const auto& [key, item] : *table) count += num_values(item);
  } else if (const auto* array = value.as<Value::Array>()) {
    for (const Value& item : *array) count += num_values(item);
  }
  return count;
}

RunSpec with(RunSpec run, const Choice& choice) {
  run.label += (run.label.empty() ? "" : " ") + choice.label;
  for (const auto& [path, value] : choice.assignments) {
    const auto before = std::ranges::find(run.parameters, path, [](const auto& parameter) { return parameter.first; });
    if (before == run.parameters.end()) {
      run.parameters.emplace_back(path, to_text(value));
    } else {
      before->second = to_text(value);
    }
    assign(run.config, path, value);
  }
  return run;
}

/// Multiplies axes, depth first.
class Expansion {
 public:
  Expansion(std::vector<Axis> axes, Position sweep) : axes_(std::move(axes)), sweep_(std::move(sweep)) {}

  std::vector<RunSpec> runs(const Value& base) {
    expect_few();
    extend({"", {}, base}, 0);
    for (const Axis& axis : axes_) {
      axis.when.expect_met();
      for (const Choice& choice : axis.choices) choice.when.expect_met();
    }
    return std::move(runs_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw ConfigError(fmt::format("{}: sweep: {}", sweep_.text(), message)); }

  /// Axes that apply to every run multiply them, whatever the others do.
  void expect_few() const {
    std::size_t least = 1;
    for (const Axis& axis : axes_) {
      const bool is_for_all = axis.when.conditions().empty() && std::ranges::all_of(axis.choices, [](const Choice& choice) { return choice.when.conditions().empty(); });
      if (is_for_all) least *= std::max<std::size_t>(axis.choices.size(), 1);
      if (least > max_runs) fail(fmt::format("more than {} runs", max_runs));
    }
  }

  void extend(RunSpec run, std::size_t axis) {
    if (axis == axes_.size()) return add(std::move(run));
    const auto choices = choices_for(run.config, axes_[axis]);
    for (const Choice* choice : choices) extend(with(run, *choice), axis + 1);
    if (choices.empty()) extend(std::move(run), axis + 1);
  }

  static std::vector<const Choice*> choices_for(const Value& config, Axis& axis) {
    std::vector<const Choice*> choices;
    if (!axis.when.holds(config)) return choices;
    for (Choice& choice : axis.choices) {
      if (choice.when.holds(config)) choices.push_back(&choice);
    }
    return choices;
  }

  void add(RunSpec run) {
    if (++num_combinations_ > max_runs) fail(fmt::format("more than {} runs", max_runs));
    num_values_ += num_values(run.config);
    if (num_values_ > max_values) fail(fmt::format("more than {} values in all of its runs together", max_values));
    if (!configurations_.insert(sha256(to_text(run.config))).second) return;
    if (run.label.empty()) run.label = "run";
    const std::string stem = run.label;
    for (Index number = 2; !labels_.insert(run.label).second; ++number) run.label = fmt::format("{} #{}", stem, number);
    runs_.push_back(std::move(run));
  }

  std::vector<Axis> axes_;
  Position sweep_;
  std::vector<RunSpec> runs_;
  std::size_t num_combinations_ = 0, num_values_ = 0;
  std::set<std::string> configurations_, labels_;  ///< configurations by their hashes
};

}  // namespace

Override parse_override(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) throw ConfigError(fmt::format("--set {}: expected key=value", text));
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::vector<RunSpec> expand_sweep(Value file, const std::vector<Override>& overrides) {
  for (const auto& [path, value] : overrides) assign(file, path, parse_scalar(value, "--set " + path));
  auto& root = *file.as<Value::Table>();
  const auto found = root.find("sweep");
  if (found == root.end()) return {{"run", {}, std::move(file)}};
  const Value sweep = std::move(found->second);
  root.erase(found);
  return Expansion(axes_of(sweep, file), sweep.position).runs(file);
}

}  // namespace kronlab::config
