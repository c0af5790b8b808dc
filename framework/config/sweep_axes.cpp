#include "framework/config/sweep_axes.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "framework/base/nearest.hpp"

namespace kronlab::config {
namespace {

/// Keys that are no paths.
const std::vector<std::string> keys_of_sweep{"grid", "seeds", "variants", "zip"};
const std::vector<std::string> keys_of_lists{"when"};
const std::vector<std::string> keys_of_variant{"name", "when"};

[[noreturn]] void fail(const Position& position, const std::string& message) {
  throw ConfigError(fmt::format("{}: sweep: {}", position.text(), message));
}

/// A key that is no path into the file but nearly one of the sweep's own is a misspelt one.
void expect_spelt(const Value& table, const std::vector<std::string>& own, const Value& root) {
  for (const auto& [key, value] : *table.as<Value::Table>()) {
    const bool is_known = std::ranges::find(own, key) != own.end() || root.as<Value::Table>()->contains(key);
    if (is_known || nearest_name(key, own).empty()) continue;
    fail(value.position, fmt::format("unknown key '{}'{}; known: {}, and paths", key, did_you_mean(key, own), fmt::join(own, ", ")));
  }
}

const Value::Array& list_at(const std::string& key, const Value& value) {
  const auto* list = value.as<Value::Array>();
  if (!list || list->empty())
    fail(value.position, fmt::format("'{}': expected a list of values, found {}", key, to_text(value)));
  return *list;
}

When when_of(const Value::Table& entry) {
  const auto found = entry.find("when");
  return found == entry.end() ? When() : When(found->second);
}

/// A choice for each value of a list.
std::vector<Choice> choices_of(const std::string& path, const std::string& key, const Value& value) {
  std::vector<Choice> choices;
  for (const Value& item : list_at(key, value)) choices.push_back({"", {{path, item}}, {}});
  return choices;
}

Choice joined(Choice first, const Choice& second) {
  first.assignments.insert(first.assignments.end(), second.assignments.begin(), second.assignments.end());
  return first;
}

/// Joins one more list of a table to those before it: zip or grid.
using Join = std::vector<Choice> (*)(const std::vector<Choice>& before, const std::vector<Choice>& next, const std::string& path, const Value& value);

std::vector<Choice> zipped(const std::vector<Choice>& before, const std::vector<Choice>& next, const std::string& path, const Value& value) {
  if (before.size() != next.size()) {
    fail(value.position, fmt::format("zip: '{}' has {} values, '{}' has {}", path, next.size(), before[0].assignments[0].first, before.size()));
  }
  std::vector<Choice> choices;
  for (std::size_t i = 0; i < next.size(); ++i) choices.push_back(joined(before[i], next[i]));
  return choices;
}

std::vector<Choice> multiplied(const std::vector<Choice>& before, const std::vector<Choice>& next, const std::string&, const Value& value) {
  if (before.size() * next.size() > max_runs) fail(value.position, fmt::format("grid: more than {} runs", max_runs));
  std::vector<Choice> choices;
  for (const auto& first : before) {
    for (const auto& second : next) choices.push_back(joined(first, second));
  }
  return choices;
}

Axis axis_of_lists(const std::string& kind, const Value& entry, Join join, const Value& root) {
  const auto* table = entry.as<Value::Table>();
  if (!table) fail(entry.position, fmt::format("{}: expected a table of lists, found {}", kind, to_text(entry)));
  expect_spelt(entry, keys_of_lists, root);
  Axis axis{{}, when_of(*table)};
  for (const auto& [path, value] : *table) {
    if (path == "when") continue;
    auto next = choices_of(path, path, value);
    axis.choices = axis.choices.empty() ? std::move(next) : join(axis.choices, next, path, value);
  }
  if (axis.choices.empty()) fail(entry.position, fmt::format("{}: expected a table of lists, found {}", kind, to_text(entry)));
  return axis;
}

Choice variant_of(const Value& variant, const Value& root) {
  const auto* table = variant.as<Value::Table>();
  if (table) expect_spelt(variant, keys_of_variant, root);
  const Value* name = table ? value_at(variant, "name") : nullptr;
  if (!name || !name->as<std::string>() || name->as<std::string>()->empty()) fail(variant.position, "variants: each needs a name");
  Choice choice{*name->as<std::string>(), {}, when_of(*table)};
  for (const auto& [path, value] : *table) {
    if (path != "name" && path != "when") choice.assignments.emplace_back(path, value);
  }
  return choice;
}

Axis axis_of_variants(const Value& variants, const Value& root) {
  Axis axis;
  std::set<std::string> names;
  for (const Value& variant : list_at("variants", variants)) {
    axis.choices.push_back(variant_of(variant, root));
    const auto& name = axis.choices.back().label;
    if (!names.insert(name).second) fail(variant.position, fmt::format("variants: '{}' is there twice", name));
  }
  return axis;
}

void add_axes_of_lists(std::vector<Axis>& axes, const std::string& kind, const Value::Table& sweep, Join join, const Value& root) {
  const auto found = sweep.find(kind);
  if (found == sweep.end()) return;
  for (const Value& entry : list_at(kind, found->second)) axes.push_back(axis_of_lists(kind, entry, join, root));
}

/// As many last parts of a path as tell it from the others: "num_terms", or "decompose.kind" beside "permute.kind".
std::string short_name(const std::string& path, const std::set<std::string>& paths) {
  for (std::size_t dot = path.rfind('.'); dot != std::string::npos && dot > 0; dot = path.rfind('.', dot - 1)) {
    const auto ends_alike = [&](const std::string& other) { return ("." + other).ends_with(path.substr(dot)); };
    if (std::ranges::count_if(paths, ends_alike) == 1) return path.substr(dot + 1);
  }
  return path;
}

/// Calls the choices without a name by what they assign; texts stand without quotes.
void add_labels(std::vector<Axis>& axes) {
  std::vector<Choice*> nameless;
  std::set<std::string> paths;
  for (Axis& axis : axes) {
    for (Choice& choice : axis.choices) {
      if (!choice.label.empty()) continue;
      nameless.push_back(&choice);
      for (const auto& [path, value] : choice.assignments) paths.insert(path);
    }
  }
  std::map<std::string, std::string> names;
  for (const auto& path : paths) names[path] = short_name(path, paths);
  for (Choice* choice : nameless) {
    for (const auto& [path, value] : choice->assignments) {
      const auto* text = value.as<std::string>();
      choice->label += fmt::format("{}{}={}", choice->label.empty() ? "" : " ", names.at(path), text ? *text : to_text(value));
    }
  }
}

/// Whether assigning one path changes what is at the other.
bool overlap(const std::string& a, const std::string& b) { return (a + ".").starts_with(b + ".") || (b + ".").starts_with(a + "."); }

void expect_not_set_by(const Axis& later, const When& when) {
  for (const auto& condition : when.conditions()) {
    for (const auto& choice : later.choices) {
      for (const auto& [path, value] : choice.assignments) {
        if (!overlap(condition.path, path)) continue;
        fail(condition.position, fmt::format("when: '{}' is set only later, at {}; first come variants, then zip, the keys of [sweep], grid, seeds",
                                             condition.path, value.position.text()));
      }
    }
  }
}

/// A condition on what a later axis sets would be decided by a value that the run does not have in the end.
void expect_conditions_on_earlier_axes(const std::vector<Axis>& axes) {
  for (std::size_t i = 0; i < axes.size(); ++i) {
    for (std::size_t later = i + 1; later < axes.size(); ++later) {
      expect_not_set_by(axes[later], axes[i].when);
      for (const auto& choice : axes[i].choices) expect_not_set_by(axes[later], choice.when);
    }
  }
}

}  // namespace

std::vector<Axis> axes_of(const Value& sweep, const Value& root) {
  const auto* table = sweep.as<Value::Table>();
  if (!table) fail(sweep.position, fmt::format("expected a table, found {}", sweep.type_name()));
  expect_spelt(sweep, keys_of_sweep, root);
  std::vector<Axis> axes;
  if (table->contains("variants")) axes.push_back(axis_of_variants(table->at("variants"), root));
  add_axes_of_lists(axes, "zip", *table, zipped, root);
  for (const auto& [path, value] : *table) {
    if (path == "when") fail(value.position, "'when' belongs into an entry of variants, zip or grid");
    if (std::ranges::find(keys_of_sweep, path) == keys_of_sweep.end()) axes.push_back({choices_of(path, path, value), {}});
  }
  add_axes_of_lists(axes, "grid", *table, multiplied, root);
  if (table->contains("seeds")) axes.push_back({choices_of("experiment.seed", "seeds", table->at("seeds")), {}});
  expect_conditions_on_earlier_axes(axes);
  add_labels(axes);
  return axes;
}

}  // namespace kronlab::config
