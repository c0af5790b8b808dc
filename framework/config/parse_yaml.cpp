#include "framework/config/parse_yaml.hpp"

#include <yaml-cpp/yaml.h>

#include <charconv>

namespace kronlab::config {
namespace {

constexpr int max_levels = 16;

/// Of a text from elsewhere, as much as a message bears.
std::string excerpt(const std::string& text) { return text.substr(0, 60) + (text.size() > 60 ? "..." : ""); }

class YamlReader {
 public:
  explicit YamlReader(const std::string& file) : file_(file) {}

  Value value_of(const YAML::Node& node, int level) {
    const auto place = place_of(node.Mark());
    if (level > max_levels) fail(place, fmt::format("is nested more than {} levels deep", max_levels));
    Value value;
    if (node.IsMap()) {
      Value::Table table;
      for (const auto& entry : node) add(table, entry.first, entry.second, level);
      value = Value(std::move(table));
    } else if (node.IsSequence()) {
      Value::Array array;
      for (const auto& item : node) array.push_back(value_of(item, level + 1));
      value = Value(std::move(array));
    } else if (node.IsScalar()) {
      value = scalar_of(node, place);
    } else {
      fail(place, "there is no value");
    }
    value.position = place;
    return value;
  }

  Position place_of(const YAML::Mark& mark) const {
    return mark.is_null() ? Position{file_, 0, 0} : Position{file_, mark.line + 1, mark.column + 1};
  }
  [[noreturn]] static void fail(const Position& place, const std::string& message) { throw ConfigError(fmt::format("{}: {}", place.text(), message)); }

 private:
  void add(Value::Table& table, const YAML::Node& key, const YAML::Node& node, int level) {
    const auto place = place_of(key.Mark());
    if (!key.IsScalar()) fail(place, "expected a text as key");
    const std::string& name = key.Scalar();
    if (const auto known = table.find(name); known != table.end())
      fail(place, fmt::format("key '{}' is there twice, first in line {}", excerpt(name), known->second.position.line));
    if (node.IsNull()) fail(place, fmt::format("'{}' has no value", excerpt(name)));
    Value& value = table[name] = value_of(node, level + 1);
    value.position = place;
  }

  static Value scalar_of(const YAML::Node& node, const Position& place) {
    const std::string& text = node.Scalar();
    const bool is_plain = node.Tag() == "?";
    if (!is_plain) return Value(text);
    for (const char* word : {"true", "True", "TRUE"}) {
      if (text == word) return Value(true);
    }
    for (const char* word : {"false", "False", "FALSE"}) {
      if (text == word) return Value(false);
    }
    const char *begin = text.data(), *end = begin + text.size();
    Index integer = 0;
    const auto [integer_end, problem] = std::from_chars(begin, end, integer);
    if (integer_end == end && problem == std::errc::result_out_of_range) fail(place, fmt::format("expected an integer of 64 bits, found {}", excerpt(text)));
    if (integer_end == end && problem == std::errc()) return Value(integer);
    double number = 0;
    const auto [number_end, error] = std::from_chars(begin, end, number);
    if (number_end == end && error == std::errc()) return Value(number);
    return Value(text);
  }

  const std::string& file_;
};

/// Aliases make a small text a large tree, and anchors serve nothing else.
void expect_no_anchors(const YAML::Node& node, const YamlReader& reader, std::size_t size_of_text) {
  std::size_t num_nodes = 0;
  const auto count = [&](const auto& self, const YAML::Node& at, int level) -> void {
    if (++num_nodes > size_of_text + 1) YamlReader::fail(reader.place_of(at.Mark()), "aliases are not read");
    if (level > max_levels + 1) return;  // value_of refuses it
    for (const auto& child : at) {
      if (at.IsMap()) {
        self(self, child.first, level + 1), self(self, child.second, level + 1);
      } else {
        self(self, child, level + 1);
      }
    }
  };
  count(count, node, 1);
}

}  // namespace

Value parse_yaml(std::string_view text, const std::string& file) {
  YamlReader reader(file);
  try {
    const auto documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) YamlReader::fail(reader.place_of(documents[1].Mark()), "a second document, expected one");
    if (documents.empty() || documents[0].IsNull()) {
      Value empty;
      empty.position = {file, 0, 0};
      return empty;
    }
    expect_no_anchors(documents[0], reader, text.size());
    Value value = reader.value_of(documents[0], 1);
    if (!value.is_table()) YamlReader::fail({file, 0, 0}, fmt::format("expected a table of settings, found {}", value.type_name()));
    value.position = {file, 0, 0};
    return value;
  } catch (const YAML::Exception& error) {
    YamlReader::fail(reader.place_of(error.mark), error.msg);
  }
}

}  // namespace kronlab::config
