#include "framework/config/when.hpp"

#include <algorithm>
#include <optional>

#include "framework/base/nearest.hpp"

namespace kronlab::config {
namespace {

[[noreturn]] void fail(const Position& position, const std::string& message) {
  throw ConfigError(fmt::format("{}: sweep: when: {}", position.text(), message));
}

std::optional<double> number_of(const Value& value) {
  if (const auto* integer = value.as<Index>()) return static_cast<double>(*integer);
  const auto* number = value.as<double>();
  return number ? std::optional(*number) : std::nullopt;
}

bool is_equal(const Value& a, const Value& b) {
  const auto left = number_of(a), right = number_of(b);
  return left && right ? *left == *right : to_text(a) == to_text(b);
}

Value::Array values_from(const std::string& path, const Value& value) {
  const auto* list = value.as<Value::Array>();
  Value::Array values = list ? *list : Value::Array{value};
  if (values.empty()) fail(value.position, fmt::format("'{}': the list is empty", path));
  for (const Value& item : values) {
    if (!item.is_table()) continue;
    fail(value.position, fmt::format("'{}': expected a value or a list of values, found {}; a path is one key in quotes, "
                                     "such as \"stage.0.decompose.kind\"",
                                     path, to_text(item)));
  }
  return values;
}

bool has_value(const Value& config, When::Condition& condition) {
  const Value* found = value_at(config, condition.path);
  if (found) {
    condition.is_met = true;
  } else if (!condition.is_met) {
    for (auto& path : paths_of(config)) condition.candidates.insert(std::move(path));
  }
  return found && std::ranges::any_of(condition.values, [&](const Value& value) { return is_equal(*found, value); });
}

}  // namespace

When::When(const Value& value) {
  const auto* table = value.as<Value::Table>();
  if (!table || table->empty()) fail(value.position, fmt::format("expected a table of paths and values, found {}", to_text(value)));
  for (const auto& [path, item] : *table) {
    if (path.empty()) fail(item.position, "a path is empty");
    conditions_.push_back({path, values_from(path, item), item.position, false, {}});
  }
}

bool When::holds(const Value& config) {
  bool all = true;
  for (auto& condition : conditions_) all = has_value(config, condition) && all;
  return all;
}

void When::expect_met() const {
  for (const auto& condition : conditions_) {
    if (condition.is_met) continue;
    const std::vector<std::string> candidates(condition.candidates.begin(), condition.candidates.end());
    fail(condition.position, fmt::format("no run has '{}'{}", condition.path, did_you_mean(condition.path, candidates)));
  }
}

}  // namespace kronlab::config
