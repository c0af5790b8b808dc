#include "framework/config/sweep.hpp"

#include <set>
#include <utility>

namespace kronlab::config {
namespace {

using Assignment = std::pair<std::string, Value>;

/// One position of an axis: what it assigns and how it is called.
struct Choice {
  std::string label;
  std::vector<Assignment> assignments;
};
using Axis = std::vector<Choice>;

[[noreturn]] void fail(const Value& at, const std::string& message) {
  throw ConfigError(fmt::format("{}: sweep: {}", at.position.text(), message));
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('.') + 1); }

/// The short form of a value in a label: texts without quotes.
std::string label_of(const std::string& path, const Value& value) {
  const auto* text = value.as<std::string>();
  return fmt::format("{}={}", last_part(path), text ? *text : to_text(value));
}

const Value::Array& list_at(const std::string& key, const Value& value) {
  const auto* list = value.as<Value::Array>();
  if (!list || list->empty())
    fail(value, fmt::format("'{}': expected a list of values, found {}", key, to_text(value)));
  return *list;
}

Axis axis_of_list(const std::string& path, const std::string& key, const Value& value) {
  Axis axis;
  for (const Value& item : list_at(key, value)) axis.push_back({label_of(path, item), {{path, item}}});
  return axis;
}

Axis axis_of_zip(const Value& zip) {
  const auto* lists = zip.as<Value::Table>();
  if (!lists || lists->empty()) fail(zip, "zip: expected a table of lists");
  Axis axis(list_at(lists->begin()->first, lists->begin()->second).size());
  for (const auto& [path, value] : *lists) {
    const auto& list = list_at(path, value);
    if (list.size() != axis.size()) {
      fail(value,
           fmt::format("zip: '{}' has {} values, '{}' has {}", path, list.size(), lists->begin()->first, axis.size()));
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      axis[i].label += (axis[i].label.empty() ? "" : " ") + label_of(path, list[i]);
      axis[i].assignments.emplace_back(path, list[i]);
    }
  }
  return axis;
}

Axis axis_of_variants(const Value& variants) {
  Axis axis;
  std::set<std::string> names;
  for (const Value& variant : list_at("variants", variants)) {
    const auto* table = variant.as<Value::Table>();
    if (!table || !table->contains("name") || !table->at("name").as<std::string>())
      fail(variant, "variants: each needs a name");
    Choice choice{*table->at("name").as<std::string>(), {}};
    if (!names.insert(choice.label).second) fail(variant, fmt::format("variants: '{}' is there twice", choice.label));
    for (const auto& [path, value] : *table) {
      if (path != "name") choice.assignments.emplace_back(path, value);
    }
    axis.push_back(std::move(choice));
  }
  return axis;
}

std::vector<Axis> axes_of(const Value& sweep) {
  const auto* table = sweep.as<Value::Table>();
  if (!table) fail(sweep, fmt::format("expected a table, found {}", sweep.type_name()));
  std::vector<Axis> axes;
  if (table->contains("variants")) axes.push_back(axis_of_variants(table->at("variants")));
  if (table->contains("zip")) {
    for (const Value& zip : list_at("zip", table->at("zip"))) axes.push_back(axis_of_zip(zip));
  }
  for (const auto& [path, value] : *table) {
    if (path == "variants" || path == "zip" || path == "seeds") continue;
    axes.push_back(axis_of_list(path, path, value));
  }
  if (table->contains("seeds")) axes.push_back(axis_of_list("experiment.seed", "seeds", table->at("seeds")));
  return axes;
}

RunSpec run_of(const Value& base, const std::vector<const Choice*>& choices) {
  RunSpec run{"", {}, base};
  for (const Choice* choice : choices) {
    run.label += (run.label.empty() ? "" : " ") + choice->label;
    for (const auto& [path, value] : choice->assignments) {
      run.parameters.emplace_back(path, to_text(value));
      assign(run.config, path, value);
    }
  }
  if (run.label.empty()) run.label = "run";
  return run;
}

}  // namespace

Override parse_override(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) throw ConfigError(fmt::format("--set {}: expected key=value", text));
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::vector<RunSpec> expand_sweep(Value file, const std::vector<Override>& overrides) {
  for (const auto& [path, value] : overrides) assign(file, path, parse_scalar(value, "--set " + path));
  auto& root = *file.as<Value::Table>();
  std::vector<Axis> axes;
  if (const auto found = root.find("sweep"); found != root.end()) {
    axes = axes_of(found->second);
    root.erase(found);
  }
  Index count = 1;
  for (const Axis& axis : axes) count = checked_product(count, static_cast<Index>(axis.size()), "runs of the sweep");
  if (count > 100'000)
    throw ConfigError(fmt::format("{}: the sweep has {} runs, expected at most 100000", file.position.text(), count));
  std::vector<RunSpec> runs;
  for (Index number = 0; number < count; ++number) {
    std::vector<const Choice*> choices(axes.size());
    auto rest = static_cast<std::size_t>(number);
    for (std::size_t a = axes.size(); a-- > 0;) {
      choices[a] = &axes[a][rest % axes[a].size()];
      rest /= axes[a].size();
    }
    runs.push_back(run_of(file, choices));
  }
  return runs;
}

}  // namespace kronlab::config
