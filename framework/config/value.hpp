#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "framework/base/types.hpp"

namespace kronlab::config {

/// Where a value was written. Values that a program made have no line.
struct Position {
  std::string file;
  Index line = 0;
  Index column = 0;
  /// "sweep.toml:3:12", or only the file where there is no line.
  std::string text() const;
};

/// What a TOML file holds: a tree of tables, arrays, texts, integers, numbers and truth values. Dates are refused.
class Value {
 public:
  using Array = std::vector<Value>;
  using Table = std::map<std::string, Value>;

  Value() : content_(Table{}) {}
  Value(bool value) : content_(value) {}
  Value(Index value) : content_(value) {}
  Value(double value) : content_(value) {}
  Value(std::string value) : content_(std::move(value)) {}
  Value(const char* value) : content_(std::string(value)) {}
  Value(Array value) : content_(std::move(value)) {}
  Value(Table value) : content_(std::move(value)) {}

  template <class T>
  const T* as() const {
    return std::get_if<T>(&content_);
  }
  template <class T>
  T* as() {
    return std::get_if<T>(&content_);
  }
  bool is_table() const { return as<Table>() != nullptr; }
  /// "a table", "an integer", ...
  std::string_view type_name() const;

  Position position;

 private:
  std::variant<bool, Index, double, std::string, Array, Table> content_;
};

/// Reads TOML 1.0. @throws ConfigError with file, line and column on bad syntax, a key that is there twice, a date, or
/// tables and arrays 64 levels deep within one statement
Value parse_toml(std::string_view text, const std::string& file);

/// Writes TOML that `parse_toml` reads back to the same tree; keys are sorted, numbers exact.
std::string to_toml(const Value& table);

/// A one-line form that is equal for equal trees: keys sorted, numbers in their shortest exact spelling.
std::string to_text(const Value& value);

/// The value of `text` as it would stand behind "key =" in TOML; what is no TOML value is taken as a text.
Value parse_scalar(std::string_view text, const std::string& origin);

/// Puts `value` at a path such as `stage.0.decompose.num_terms` (counting from 0); tables on the way are made where
/// they are missing. @throws ConfigError naming the part of the path that leads nowhere, or on more than 64 parts
void assign(Value& root, std::string_view path, Value value);

/// The value at such a path, `root` itself at an empty one; null where the path leads nowhere.
const Value* value_at(const Value& root, std::string_view path);

/// The paths of all values below `root`, tables and arrays too.
std::vector<std::string> paths_of(const Value& root);

}  // namespace kronlab::config
