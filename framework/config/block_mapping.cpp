#include "framework/config/block_mapping.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace kronlab::config {
namespace {

constexpr std::size_t max_levels = 16;
constexpr std::string_view blanks = " \t";

/// A line without its indentation and end, and where the indentation ends.
struct Line {
  Index number = 0;
  Index indent = 0;
  std::string_view text;
};

/// Of a text from elsewhere, as much as a message bears.
std::string excerpt(std::string_view text) { return std::string(text.substr(0, 60)) + (text.size() > 60 ? "..." : ""); }

bool is_integer(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  const bool has_digits = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  return has_digits && (text.size() == 1 || text[0] != '0');
}

std::optional<bool> find_flag(std::string_view text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

class BlockReader {
 public:
  explicit BlockReader(const std::string& file) : file_(file) { root_.position = {file, 0, 0}; }

  void add(const Line& line) {
    if (line.text.empty() || line.text[0] == '#') return;
    if (line.text == "---" && levels_.empty()) return;
    enter_level(line);
    const std::size_t colon = end_of_key(line);
    const auto key = unquoted(line, 0, line.text.substr(0, colon));
    Value::Table& table = *levels_.back().table;
    if (const auto known = table.find(key); known != table.end())
      fail(line, 0,
           fmt::format("key '{}' is there twice, first in line {}", excerpt(key), known->second.position.line));
    Value& value = table[key];
    const std::size_t begin = std::min(line.text.find_first_not_of(blanks, colon + 1), line.text.size());
    const auto scalar = without_comment(line, begin);
    if (scalar.empty()) {
      open_ = &value, open_key_ = key;
    } else {
      value = scalar_of(line, begin, scalar);
    }
    value.position = {file_, line.number, line.indent + 1};
  }

  Value finish() {
    if (open_ && open_ != &root_) fail_open();
    return std::move(root_);
  }

  [[noreturn]] void fail(const Line& line, std::size_t at, const std::string& message) const {
    throw ConfigError(
        fmt::format("{}: {}", Position{file_, line.number, line.indent + 1 + static_cast<Index>(at)}.text(), message));
  }

 private:
  struct Level {
    Index indent;
    Value::Table* table;
  };

  [[noreturn]] void fail_open() const {
    throw ConfigError(fmt::format("{}: '{}' has no value", open_->position.text(), excerpt(open_key_)));
  }

  /// The table that the line belongs to becomes the last level.
  void enter_level(const Line& line) {
    const bool is_deeper = levels_.empty() || line.indent > levels_.back().indent;
    if (open_) {
      if (!is_deeper) fail_open();
      if (levels_.size() == max_levels) fail(line, 0, fmt::format("a table more than {} levels deep", max_levels));
      levels_.push_back({line.indent, open_->as<Value::Table>()});
      open_ = nullptr;
      return;
    }
    if (is_deeper) fail(line, 0, "is indented deeper than the line before it, which has a value");
    while (!levels_.empty() && line.indent < levels_.back().indent) levels_.pop_back();
    if (levels_.empty() || line.indent != levels_.back().indent)
      fail(line, 0, fmt::format("is indented by {} blanks, which no line before it at its level is", line.indent));
  }

  /// The colon behind a line's key.
  std::size_t end_of_key(const Line& line) const {
    const auto& text = line.text;
    std::size_t from = 0;
    if (text[0] == '"' || text[0] == '\'') from = std::min(text.find(text[0], 1), text.size() - 1);
    expect_plain(line, 0);
    for (std::size_t at = text.find(':', from); at != std::string_view::npos; at = text.find(':', at + 1)) {
      if (at > 0 && (at + 1 == text.size() || blanks.find(text[at + 1]) != std::string_view::npos)) return at;
    }
    fail(line, 0, fmt::format("expected 'key: value' or 'key:', found '{}'", excerpt(text)));
  }

  /// What follows is none of YAML's other forms.
  void expect_plain(const Line& line, std::size_t at) const {
    const auto text = line.text.substr(at);
    const bool is_item = text.starts_with("- ") || text == "-";
    if (is_item || std::string_view("[]{},&*!|>%@`?").find(text[0]) != std::string_view::npos)
      fail(line, at,
           fmt::format("expected a key, an integer, true, false or a text, found '{}': lists, flow style, anchors and "
                       "tags are not read",
                       excerpt(text)));
  }

  std::string_view without_comment(const Line& line, std::size_t begin) const {
    auto text = line.text.substr(begin);
    if (text.empty() || text[0] == '#') return {};
    const bool is_quoted = text[0] == '"' || text[0] == '\'';
    const std::size_t from = is_quoted ? text.find(text[0], 1) : 0;
    for (std::size_t at = from; at < text.size(); ++at) {
      if (text[at] != '#' || at == 0 || blanks.find(text[at - 1]) == std::string_view::npos) continue;
      text = text.substr(0, at);
      break;
    }
    return text.substr(0, text.find_last_not_of(blanks) + 1);
  }

  /// A text in quotes or not. @throws ConfigError where the quotes do not end with the text, or something is escaped
  std::string unquoted(const Line& line, std::size_t at, std::string_view text) const {
    if (text[0] != '"' && text[0] != '\'') return std::string(text.substr(0, text.find_last_not_of(blanks) + 1));
    const auto inner = text.substr(1, text.size() - std::min<std::size_t>(2, text.size()));
    const bool ends = text.size() >= 2 && text.back() == text[0] && inner.find(text[0]) == std::string_view::npos;
    if (!ends || (text[0] == '"' && inner.find('\\') != std::string_view::npos))
      fail(line, at,
           fmt::format("expected a text in quotes, in one line and without escapes, found {}", excerpt(text)));
    return std::string(inner);
  }

  Value scalar_of(const Line& line, std::size_t at, std::string_view text) const {
    if (text[0] == '"' || text[0] == '\'') return Value(unquoted(line, at, text));
    expect_plain(line, at);
    if (const auto flag = find_flag(text)) return Value(*flag);
    if (!is_integer(text)) return Value(std::string(text));
    Index integer = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
    if (error != std::errc{}) fail(line, at, fmt::format("expected an integer of 64 bits, found {}", excerpt(text)));
    return Value(integer);
  }

  const std::string& file_;
  Value root_;
  std::vector<Level> levels_;
  Value* open_ = &root_;  ///< whose table begins with the next line
  std::string open_key_;
};

}  // namespace

Value parse_block_mapping(std::string_view text, const std::string& file) {
  BlockReader reader(file);
  for (Index number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view content = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (content.ends_with('\r')) content.remove_suffix(1);
    const std::size_t indent = std::min(content.find_first_not_of(' '), content.size());
    content = content.substr(indent);
    const Line line{number, static_cast<Index>(indent), content.substr(0, content.find_last_not_of(blanks) + 1)};
    const auto strange = std::ranges::find_if(
        line.text, [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
    if (strange != line.text.end())
      reader.fail(line, static_cast<std::size_t>(strange - line.text.begin()),
                  fmt::format("a control character, {:#04x}", static_cast<unsigned char>(*strange)));
    if (line.text.starts_with('\t')) reader.fail(line, 0, "is indented by a tab, expected blanks");
    reader.add(line);
  }
  return reader.finish();
}

}  // namespace kronlab::config
