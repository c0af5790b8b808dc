#include "framework/config/strict_table.hpp"

#include <cmath>
#include <set>
#include <utility>

#include "framework/base/nearest.hpp"

namespace kronlab::config {

struct StrictTable::State {
  Value value;
  std::string path;
  std::set<std::string> known;
  Value::Table resolved;
  struct Children {
    std::vector<std::shared_ptr<State>> tables;
    bool in_array = false;
  };
  std::map<std::string, Children> children;

  const Value::Table& entries() const { return *value.as<Value::Table>(); }

  void expect_all_known() const {
    for (const auto& [key, item] : entries()) {
      if (known.contains(key)) continue;
      const std::vector<std::string> candidates(known.begin(), known.end());
      throw ConfigError(fmt::format("{}: unknown key '{}{}{}'{}; known: {}", item.position.text(), path,
                                    path.empty() ? "" : ".", key, did_you_mean(key, candidates),
                                    fmt::join(candidates, ", ")));
    }
    for (const auto& [key, below] : children) {
      for (const auto& child : below.tables) child->expect_all_known();
    }
  }

  Value whole() const {
    Value::Table table = resolved;
    for (const auto& [key, below] : children) {
      if (!below.in_array) {
        table[key] = below.tables.front()->whole();
        continue;
      }
      Value::Array items;
      for (const auto& child : below.tables) items.push_back(child->whole());
      table[key] = Value(std::move(items));
    }
    return Value(std::move(table));
  }
};

StrictTable::StrictTable(Value table, std::string path) : state_(std::make_shared<State>()) {
  if (!table.is_table()) {
    throw ConfigError(
        fmt::format("{}: {}: expected a table, found {}", table.position.text(), path, table.type_name()));
  }
  state_->value = std::move(table);
  state_->path = std::move(path);
}

const std::string& StrictTable::path() const { return state_->path; }

std::string StrictTable::path_of(const std::string& key) const {
  return state_->path.empty() ? key : state_->path + "." + key;
}

void StrictTable::fail(const std::string& key, const std::string& message) const {
  const auto found = state_->entries().find(key);
  const Position& position = found == state_->entries().end() ? state_->value.position : found->second.position;
  throw ConfigError(fmt::format("{}: {}: {}", position.text(), key.empty() ? state_->path : path_of(key), message));
}

const Value* StrictTable::find(const std::string& key) const {
  state_->known.insert(key);
  const auto found = state_->entries().find(key);
  return found == state_->entries().end() ? nullptr : &found->second;
}

const Value& StrictTable::require(const std::string& key) const {
  if (const Value* value = find(key)) return *value;
  std::vector<std::string> there;
  for (const auto& [name, value] : state_->entries()) {
    if (!state_->known.contains(name)) there.push_back(name);
  }
  fail(key, fmt::format("is missing{}", did_you_mean(key, there)));
}

bool StrictTable::has(const std::string& key) const { return find(key) != nullptr; }

template <class T>
const T& StrictTable::typed(const std::string& key, const Value& value, const char* wanted) const {
  const T* found = value.as<T>();
  if (!found) fail(key, fmt::format("expected {}, found {} ({})", wanted, value.type_name(), to_text(value)));
  return *found;
}

double StrictTable::number_of(const std::string& key, const Value& value) const {
  if (const auto* integer = value.as<Index>()) return static_cast<double>(*integer);
  return typed<double>(key, value, "a number");
}

template <class T>
T StrictTable::checked(const std::string& key, T value, Limits<T> limits) const {
  if (value >= limits.least && value <= limits.most) {
    state_->resolved[key] = Value(value);
    return value;
  }
  constexpr auto lowest = std::numeric_limits<T>::lowest(), highest = std::numeric_limits<T>::max();
  const std::string expected = limits.most == highest   ? fmt::format("at least {}", limits.least)
                               : limits.least == lowest ? fmt::format("at most {}", limits.most)
                                                        : fmt::format("{} to {}", limits.least, limits.most);
  fail(key, fmt::format("is {}, expected {}", value, expected));
}

std::string StrictTable::text(const std::string& key) const {
  const auto& text = typed<std::string>(key, require(key), "a text");
  state_->resolved[key] = Value(text);
  return text;
}

std::string StrictTable::text(const std::string& key, const std::string& fallback) const {
  if (has(key)) return text(key);
  state_->resolved[key] = Value(fallback);
  return fallback;
}

Index StrictTable::integer(const std::string& key, Limits<Index> limits) const {
  return checked(key, typed<Index>(key, require(key), "an integer"), limits);
}

Index StrictTable::integer(const std::string& key, Index fallback, Limits<Index> limits) const {
  return has(key) ? integer(key, limits) : checked(key, fallback, limits);
}

std::optional<Index> StrictTable::find_integer(const std::string& key, Limits<Index> limits) const {
  return has(key) ? std::optional(integer(key, limits)) : std::nullopt;
}

double StrictTable::number(const std::string& key, Limits<double> limits) const {
  const double value = number_of(key, require(key));
  if (!std::isfinite(value)) fail(key, fmt::format("is {}, expected a finite number", value));
  return checked(key, value, limits);
}

double StrictTable::number(const std::string& key, double fallback, Limits<double> limits) const {
  return has(key) ? number(key, limits) : checked(key, fallback, limits);
}

std::optional<double> StrictTable::find_number(const std::string& key, Limits<double> limits) const {
  return has(key) ? std::optional(number(key, limits)) : std::nullopt;
}

bool StrictTable::flag(const std::string& key, bool fallback) const {
  const Value* value = find(key);
  const bool result = value ? typed<bool>(key, *value, "true or false") : fallback;
  state_->resolved[key] = Value(result);
  return result;
}

std::string StrictTable::choice(const std::string& key, const std::vector<std::string>& known) const {
  std::string chosen = text(key);
  for (const auto& name : known) {
    if (name == chosen) return chosen;
  }
  fail(key, fmt::format("unknown '{}'{}; known: {}", chosen, did_you_mean(chosen, known), fmt::join(known, ", ")));
}

std::string StrictTable::choice(const std::string& key, const std::vector<std::string>& known,
                                const std::string& fallback) const {
  return has(key) ? choice(key, known) : text(key, fallback);
}

std::vector<std::string> StrictTable::texts(const std::string& key) const {
  const Value& value = require(key);
  std::vector<std::string> result;
  if (const auto* one = value.as<std::string>()) {
    result.push_back(*one);
  } else {
    for (const Value& item : typed<Value::Array>(key, value, "a text or an array of texts")) {
      result.push_back(typed<std::string>(key, item, "an array of texts"));
    }
  }
  if (result.empty()) fail(key, "the list is empty");
  state_->resolved[key] = Value(Value::Array(result.begin(), result.end()));
  return result;
}

std::vector<Index> StrictTable::integers(const std::string& key) const {
  std::vector<Index> result;
  for (const Value& item : typed<Value::Array>(key, require(key), "an array of integers")) {
    result.push_back(typed<Index>(key, item, "an array of integers"));
  }
  state_->resolved[key] = Value(Value::Array(result.begin(), result.end()));
  return result;
}

std::vector<double> StrictTable::numbers(const std::string& key) const {
  std::vector<double> result;
  for (const Value& item : typed<Value::Array>(key, require(key), "an array of numbers")) result.push_back(number_of(key, item));
  state_->resolved[key] = Value(Value::Array(result.begin(), result.end()));
  return result;
}

std::optional<std::vector<std::pair<Index, Index>>> StrictTable::integer_pairs(const std::string& key) const {
  const Value* value = find(key);
  if (!value || value->as<std::string>()) return std::nullopt;
  constexpr const char* wanted = "an array of pairs of integers";
  std::vector<std::pair<Index, Index>> result;
  Value::Array resolved;
  for (const Value& item : typed<Value::Array>(key, *value, wanted)) {
    const auto& pair = typed<Value::Array>(key, item, wanted);
    if (pair.size() != 2) fail(key, fmt::format("a list of {}, expected {}", pair.size(), wanted));
    result.emplace_back(typed<Index>(key, pair[0], wanted), typed<Index>(key, pair[1], wanted));
    resolved.push_back(item);
  }
  state_->resolved[key] = Value(std::move(resolved));
  return result;
}

StrictTable StrictTable::child(const std::string& key, const Value& value, std::size_t index, bool in_array) const {
  auto& below = state_->children[key];
  below.in_array = in_array;
  if (index < below.tables.size()) {  // asked for again: the same handle
    StrictTable again = *this;
    again.state_ = below.tables[index];
    return again;
  }
  const std::string path = in_array ? fmt::format("{}.{}", path_of(key), index) : path_of(key);
  StrictTable made(value, path);
  below.tables.push_back(made.state_);
  return made;
}

StrictTable StrictTable::table(const std::string& key) const { return child(key, require(key), 0, false); }

std::optional<StrictTable> StrictTable::find_table(const std::string& key) const {
  return has(key) ? std::optional(table(key)) : std::nullopt;
}

StrictTable StrictTable::table_or_empty(const std::string& key) const {
  if (has(key)) return table(key);
  Value empty;
  empty.position = state_->value.position;
  return child(key, empty, 0, false);
}

std::vector<StrictTable> StrictTable::tables(const std::string& key) const {
  std::vector<StrictTable> result;
  if (const Value* value = find(key)) {
    for (const Value& item : typed<Value::Array>(key, *value, "an array of tables"))
      result.push_back(child(key, item, result.size(), true));
  }
  return result;
}

void StrictTable::resolve(const std::string& key, Value value) const { state_->resolved[key] = std::move(value); }

void StrictTable::finish() const { state_->expect_all_known(); }

Value StrictTable::resolved() const { return state_->whole(); }

}  // namespace kronlab::config
