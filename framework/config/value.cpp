#include "framework/config/value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace kronlab::config {

std::string Position::text() const { return line > 0 ? fmt::format("{}:{}:{}", file, line, column) : file; }

std::string_view Value::type_name() const {
  constexpr std::string_view names[] = {"true or false", "an integer", "a number", "a text", "an array", "a table"};
  return names[content_.index()];
}

namespace {

constexpr std::size_t max_parts = 64;  ///< of a path

bool is_bare(const std::string& key) {
  if (key.empty()) return false;
  for (const char c : key) {
    const bool fits =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!fits) return false;
  }
  return true;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04X}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string key_text(const std::string& key) { return is_bare(key) ? key : quoted(key); }

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

bool is_array_of_tables(const Value& value) {
  const auto* array = value.as<Value::Array>();
  if (!array || array->empty()) return false;
  for (const Value& item : *array) {
    if (!item.is_table()) return false;
  }
  return true;
}

void write_table(std::string& out, const Value::Table& table, const std::string& path) {
  for (const auto& [key, value] : table) {
    if (!value.is_table() && !is_array_of_tables(value)) out += fmt::format("{} = {}\n", key_text(key), to_text(value));
  }
  for (const auto& [key, value] : table) {
    const std::string inner = path.empty() ? key_text(key) : path + "." + key_text(key);
    if (const auto* child = value.as<Value::Table>()) {
      out += fmt::format("\n[{}]\n", inner);
      write_table(out, *child, inner);
    } else if (is_array_of_tables(value)) {
      for (const Value& item : *value.as<Value::Array>()) {
        out += fmt::format("\n[[{}]]\n", inner);
        write_table(out, *item.as<Value::Table>(), inner);
      }
    }
  }
}

/// The index below `size` that a part of a path spells.
std::optional<std::size_t> index_in(std::string_view part, std::size_t size) {
  Index index = -1;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  if (error != std::errc{} || end != part.data() + part.size() || index < 0 || index >= static_cast<Index>(size)) return std::nullopt;
  return static_cast<std::size_t>(index);
}

std::size_t index_of(std::string_view part, std::size_t size, std::string_view path, const Position& position) {
  if (const auto index = index_in(part, size)) return *index;
  throw ConfigError(fmt::format("{}: '{}' in path '{}': expected an index below {}", position.text(), part, path, size));
}

/// Takes the first part off a path.
std::string_view next_part(std::string_view& path) {
  const std::size_t dot = path.find('.');
  const std::string_view part = path.substr(0, dot);
  path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  return part;
}

void add_paths(const Value& value, const std::string& path, std::vector<std::string>& paths) {
  if (!path.empty()) paths.push_back(path);
  const std::string stem = path.empty() ? "" : path + ".";
  if (const auto* table = value.as<Value::Table>()) {
    for (const auto& [key, item] : *table) add_paths(item, stem + key, paths);
  } else if (const auto* array = value.as<Value::Array>()) {
    for (std::size_t i = 0; i < array->size(); ++i) add_paths((*array)[i], stem + std::to_string(i), paths);
  }
}

}  // namespace

std::string to_toml(const Value& table) {
  const auto* root = table.as<Value::Table>();
  KRONLAB_EXPECTS(root, "only a table is a TOML file, found {}", table.type_name());
  std::string out;
  write_table(out, *root, "");
  return out.starts_with('\n') ? out.substr(1) : out;
}

std::string to_text(const Value& value) {
  if (const auto* flag = value.as<bool>()) return *flag ? "true" : "false";
  if (const auto* integer = value.as<Index>()) return fmt::format("{}", *integer);
  if (const auto* number = value.as<double>()) return number_text(*number);
  if (const auto* text = value.as<std::string>()) return quoted(*text);
  std::string out;
  if (const auto* array = value.as<Value::Array>()) {
    for (const Value& item : *array) out += (out.empty() ? "" : ", ") + to_text(item);
    return "[" + out + "]";
  }
  for (const auto& [key, item] : *value.as<Value::Table>())
    out += fmt::format("{}{} = {}", out.empty() ? "" : ", ", key_text(key), to_text(item));
  return "{" + out + "}";
}

Value parse_scalar(std::string_view text, const std::string& origin) {
  try {
    Value parsed = parse_toml(fmt::format("value = {}", text), origin);
    auto& table = *parsed.as<Value::Table>();
    if (table.size() == 1 && table.contains("value")) {
      Value value = std::move(table["value"]);
      value.position = {origin, 0, 0};
      return value;
    }
  } catch (const ConfigError&) {  // a bare word: a text
  }
  Value value{std::string(text)};
  value.position = {origin, 0, 0};
  return value;
}

void assign(Value& root, std::string_view path, Value value) {
  if (path.empty()) throw ConfigError(fmt::format("{}: the path to a value is empty", value.position.text()));
  if (static_cast<std::size_t>(std::ranges::count(path, '.')) >= max_parts)
    throw ConfigError(fmt::format("{}: a path of more than {} parts", value.position.text(), max_parts));
  Value* at = &root;
  for (std::string_view rest = path; !rest.empty();) {
    const std::string_view part = next_part(rest);
    if (part.empty()) throw ConfigError(fmt::format("{}: path '{}' has an empty part", value.position.text(), path));
    if (auto* array = at->as<Value::Array>()) {
      at = &(*array)[index_of(part, array->size(), path, value.position)];
    } else if (auto* table = at->as<Value::Table>()) {
      const auto [entry, is_new] = table->try_emplace(std::string(part));
      at = &entry->second;
      if (is_new) at->position = value.position;
    } else {
      throw ConfigError(fmt::format("{}: '{}' in path '{}': there is {}, not a table or an array",
                                    value.position.text(), part, path, at->type_name()));
    }
  }
  *at = std::move(value);
}

const Value* value_at(const Value& root, std::string_view path) {
  const Value* at = &root;
  for (std::string_view rest = path; at && !rest.empty();) {
    const std::string_view part = next_part(rest);
    const auto* array = at->as<Value::Array>();
    const auto* table = at->as<Value::Table>();
    at = nullptr;
    if (array) {
      if (const auto index = index_in(part, array->size())) at = &(*array)[*index];
    } else if (table) {
      if (const auto found = table->find(std::string(part)); found != table->end()) at = &found->second;
    }
  }
  return at;
}

std::vector<std::string> paths_of(const Value& root) {
  std::vector<std::string> paths;
  add_paths(root, "", paths);
  return paths;
}

}  // namespace kronlab::config
