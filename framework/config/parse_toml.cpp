#include <toml++/toml.h>

#include "framework/config/value.hpp"

namespace kronlab::config {
namespace {

Value converted(const toml::node& node, const std::string& file) {
  const Position position{file, static_cast<Index>(node.source().begin.line),
                          static_cast<Index>(node.source().begin.column)};
  Value value;
  if (const auto* table = node.as_table()) {
    Value::Table entries;
    for (const auto& [key, item] : *table) {
      Value child = converted(item, file);
      child.position.line = static_cast<Index>(key.source().begin.line);
      child.position.column = static_cast<Index>(key.source().begin.column);
      entries.emplace(std::string(key.str()), std::move(child));
    }
    value = Value(std::move(entries));
  } else if (const auto* array = node.as_array()) {
    Value::Array items;
    for (const auto& item : *array) items.push_back(converted(item, file));
    value = Value(std::move(items));
  } else if (const auto* flag = node.as_boolean()) {
    value = Value(flag->get());
  } else if (const auto* integer = node.as_integer()) {
    value = Value(static_cast<Index>(integer->get()));
  } else if (const auto* number = node.as_floating_point()) {
    value = Value(number->get());
  } else if (const auto* text = node.as_string()) {
    value = Value(text->get());
  } else {
    throw ConfigError(
        fmt::format("{}: a date or time; expected a text, number, truth value, array or table", position.text()));
  }
  value.position = position;
  return value;
}

}  // namespace

Value parse_toml(std::string_view text, const std::string& file) {
  try {
    return converted(toml::parse(text, std::string_view(file)), file);
  } catch (const toml::parse_error& error) {
    const auto& begin = error.source().begin;
    throw ConfigError(fmt::format("{}:{}:{}: {}", file, begin.line, begin.column, error.description()));
  }
}

}  // namespace kronlab::config
