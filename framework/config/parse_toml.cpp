#include <toml++/toml.h>

#include "framework/config/value.hpp"

namespace kronlab::config {
namespace {

/// Tables and arrays that a statement may open within each other: what reads and writes a tree goes down it step by step.
constexpr Index max_levels = 64;

/// Goes over TOML text without understanding it, far enough to know how deep each statement is: `a.b = { c = [[1]] }` is
/// five levels. Behind text that is no TOML it may be wrong; toml++ stops there.
class Levels {
 public:
  Levels(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  void expect_few() {
    while (at_ < text_.size()) {
      step();
      if (level_ < max_levels) continue;
      throw ConfigError(fmt::format("{}:{}:{}: tables and arrays {} levels deep, expected fewer", file_, line_, at_ - line_begin_, max_levels));
    }
  }

 private:
  void step() {
    const char c = text_[at_];
    if (c == '"' || c == '\'') return skip_text(c);
    if (c == '#') {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      return;
    }
    ++at_;
    if (c == '.') {
      ++dots_.back(), ++level_;
    } else if (c == ',' || c == '\n') {
      level_ -= dots_.back(), dots_.back() = 0;
    } else if (c == '[' || c == '{') {
      dots_.push_back(0), ++level_;
    } else if ((c == ']' || c == '}') && dots_.size() > 1) {
      level_ -= dots_.back() + 1, dots_.pop_back();
    }
    if (c == '\n') ++line_, line_begin_ = at_;
  }

  /// A text in quotes, or in three of them: then it may have several lines.
  void skip_text(char quote) {
    const std::string three(3, quote);
    const bool is_long = text_.substr(at_, 3) == three;
    at_ += is_long ? 3 : 1;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        if (!is_long) return;
        ++line_, line_begin_ = at_ + 1;
      }
      if (c == '\\' && quote == '"') {
        at_ += text_.substr(at_ + 1).starts_with('\n') ? 1 : 2;
      } else if (is_long ? text_.substr(at_, 3) == three : c == quote) {
        at_ += is_long ? 3 : 1;
        return;
      } else {
        ++at_;
      }
    }
  }

  std::string_view text_;
  const std::string& file_;
  std::size_t at_ = 0, line_ = 1, line_begin_ = 0;
  std::vector<Index> dots_{0};  ///< of the statement, then of what is open in it
  Index level_ = 0;
};

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
  Levels(text, file).expect_few();
  try {
    return converted(toml::parse(text, std::string_view(file)), file);
  } catch (const toml::parse_error& error) {
    const auto& begin = error.source().begin;
    throw ConfigError(fmt::format("{}:{}:{}: {}", file, begin.line, begin.column, error.description()));
  }
}

}  // namespace kronlab::config
