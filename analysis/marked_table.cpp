#include "analysis/marked_table.hpp"

#include <algorithm>

#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

const std::string word = "kronlab-table ", end_word = "kronlab-table end";

std::string comment(const std::string& content, TableFormat format) {
  return format == TableFormat::latex ? "% " + content + "\n" : "<!-- " + content + " -->\n";
}

/// In a comment of HTML two dashes would end it.
std::string without_two_dashes(std::string json) {
  for (auto at = json.find("--"); at != std::string::npos; at = json.find("--", at)) json.replace(at, 2, "\\u002d\\u002d");
  return json;
}

Json json_of(const ChosenTable& chosen, TableFormat format) {
  const auto& arguments = chosen.arguments;
  Json json = {{"format", table_formats[static_cast<std::size_t>(format)]}};
  const std::pair<const char*, const std::string*> texts[] = {
      {"spec", &arguments.spec}, {"rows", &arguments.rows}, {"spread", &arguments.spread}, {"sort", &arguments.sort}};
  for (const auto& [key, text] : texts) {
    if (!text->empty()) json[key] = *text;
  }
  if (!arguments.columns.empty()) json["columns"] = arguments.columns;
  json["runs"] = chosen.table.run_ids;
  return json;
}

void read_arguments(MarkedTable& marked, const std::string& text) {
  const Json json = Json::parse(text);
  const auto format = std::ranges::find(table_formats, json.at("format").get<std::string>());
  if (format == table_formats.end()) throw DataError("unknown format " + json.at("format").dump());
  marked.format = static_cast<TableFormat>(format - table_formats.begin());
  auto& arguments = marked.arguments;
  arguments.spec = json.value("spec", ""), arguments.rows = json.value("rows", "");
  arguments.spread = json.value("spread", ""), arguments.sort = json.value("sort", "");
  arguments.columns = json.value("columns", std::vector<std::string>());
  arguments.runs = json.at("runs").get<std::vector<std::string>>();
  if (arguments.runs.empty() && arguments.rows != "published") throw DataError("no runs");
}

/// The end of the line that holds `at`, its line feed included.
std::size_t line_end(const std::string& text, std::size_t at) {
  const auto end = text.find('\n', at);
  return end == std::string::npos ? text.size() : end + 1;
}

/// The line of a comment, if it is one of ours: its first position, and where it is on the line does not matter.
std::size_t line_begin(const std::string& text, std::size_t at) {
  const auto before = text.rfind('\n', at);
  return before == std::string::npos ? 0 : before + 1;
}

}  // namespace

std::string marked_table(const ChosenTable& chosen, TableFormat format) {
  if (format == TableFormat::text || format == TableFormat::csv) {
    throw ConfigError("--marked needs a format with comments: markdown, latex or html");
  }
  return comment(without_two_dashes(word + json_of(chosen, format).dump()), format) + print_table(chosen.table, format) + comment(end_word, format);
}

std::vector<MarkedTable> marked_tables(const std::string& text, const std::string& file) {
  std::vector<MarkedTable> found;
  for (auto at = text.find(word + "{"); at != std::string::npos; at = text.find(word + "{", found.back().end)) {
    MarkedTable marked;
    marked.line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    marked.begin = line_begin(text, at);
    const auto end = text.find(end_word, at), json_end = text.rfind('}', line_end(text, at));
    if (end == std::string::npos || json_end < at) {
      throw DataError(fmt::format("{}:{}: a table begins here, and a comment `{}` is not there", file, marked.line, end_word));
    }
    marked.end = line_end(text, end);
    try {
      read_arguments(marked, text.substr(at + word.size(), json_end + 1 - at - word.size()));
    } catch (const std::exception& error) {
      throw DataError(fmt::format("{}:{}: the comment of a table cannot be read: {}", file, marked.line, error.what()));
    }
    found.push_back(std::move(marked));
  }
  return found;
}

}  // namespace kronlab::analysis
