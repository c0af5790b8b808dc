#include "analysis/published_rows.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include "analysis/derived_columns.hpp"
#include "framework/base/error.hpp"
#include "framework/base/nearest.hpp"

namespace kronlab::analysis {
namespace {

/// "2:4, bits 4" -> "2:4", "bits 4".
std::set<std::string> parts_of(const std::string& setting) {
  std::set<std::string> parts;
  for (std::size_t begin = 0; begin < setting.size();) {
    const auto end = std::min(setting.find(", ", begin), setting.size());
    parts.insert(setting.substr(begin, end - begin));
    begin = end + 2;
  }
  return parts;
}

bool has_setting(const PublishedValue& value, const ColumnSpec& column, const PublishedRow& row) {
  if (!column.setting && !row.setting) return true;
  auto parts = parts_of(row.setting.value_or(""));
  parts.merge(parts_of(column.setting.value_or("")));
  return parts == parts_of(value.setting);
}

bool is_meant(const PublishedValue& value, const ColumnSpec& column, const PublishedRow& row) {
  const auto agrees = [](const std::string& wanted, const std::string& found) { return wanted.empty() || wanted == found; };
  return "published." + value.metric == column.show && agrees(row.method, value.method) && agrees(column.method, value.method) &&
         agrees(row.model, value.model) && agrees(column.model, value.model) && agrees(column.dataset, value.dataset) &&
         has_setting(value, column, row) && value.protocol.find(column.protocol) != std::string::npos;
}

std::optional<PublishedValue> published_of(const Column& column, const PublishedRow& row) {
  std::optional<PublishedValue> found;
  for (const auto& value : published_values()) {
    if (!is_meant(value, column.spec, row)) continue;
    if (found) {
      throw ConfigError(fmt::format("{}: '{}' has several values of {}: ({}; {}; {}; {}) and ({}; {}; {}; {}); choose by model, setting, or the column's "
                                    "dataset and protocol",
                                    row.position.text(), row.label, value.metric, found->model, found->setting, found->dataset, found->protocol,
                                    value.model, value.setting, value.dataset, value.protocol));
    }
    found = value;
  }
  return found;
}

void expect_method(const std::string& method, const config::Position& position) {
  std::set<std::string> names;
  for (const auto& value : published_values()) names.insert(value.method);
  if (method.empty() || names.contains(method)) return;
  const std::vector<std::string> known(names.begin(), names.end());
  throw ConfigError(fmt::format("{}: published: unknown method '{}'{}; known: {}", position.text(), method, did_you_mean(method, known),
                                fmt::join(known, ", ")));
}

/// What is in a column was measured in one way. Its unit is theirs.
void settle_column(ResultTable& table, std::size_t c) {
  Column& column = table.columns[c];
  const PublishedValue* first = nullptr;
  for (const auto& row : table.rows) {
    const auto& value = row.cells[c].published;
    if (!value) continue;
    if (!first) first = &*value, column.unit = value->unit;
    if (std::tie(first->protocol, first->dataset, first->unit) != std::tie(value->protocol, value->dataset, value->unit)) {
      throw ConfigError(fmt::format("{}: column '{}': two protocols cannot share a column: {} ({}, '{}') and {} ({}, '{}')", column.spec.position.text(),
                                    column.spec.show, first->method, first->dataset, first->protocol, value->method, value->dataset, value->protocol));
    }
  }
  if (!first) throw ConfigError(fmt::format("{}: column '{}': no published row has it", column.spec.position.text(), column.header));
}

Row empty_row(const ResultTable& table, const std::string& label) {
  Row row;
  row.label = label;
  row.is_published = true;
  row.cells.resize(table.columns.size());
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (table.columns[c].spec.show == "label") row.cells[c].text = label;
  }
  return row;
}

Row& row_beside(ResultTable& table, const PublishedRow& wanted) {
  std::vector<std::string> labels;
  for (auto& row : table.rows) {
    if (row.label == wanted.beside) return row;
    labels.push_back(row.label);
  }
  throw ConfigError(fmt::format("{}: published '{}' beside '{}', which is no row{}; there are: {}", wanted.position.text(), wanted.label, wanted.beside,
                                did_you_mean(wanted.beside, labels), fmt::join(labels, ", ")));
}

}  // namespace

bool shows_published(const ColumnSpec& column) { return column.show.starts_with("published."); }

void expect_only_published(const TableSpec& spec) {
  if (spec.columns.empty() || spec.published.empty()) {
    throw ConfigError("rows = \"published\": expected a [[column]] and a [[published]] row at least");
  }
  for (const auto& column : spec.columns) {
    if (column.show == "label" || shows_published(column) || is_derived(column)) continue;
    throw ConfigError(fmt::format("{}: column '{}' is of runs, and rows = \"published\" has none; expected label or published.METRIC",
                                  column.position.text(), column.show));
  }
}

void add_published(ResultTable& table, const std::vector<PublishedRow>& rows) {
  if (rows.empty()) return;
  for (const auto& column : table.columns) expect_method(column.spec.method, column.spec.position);
  for (const auto& wanted : rows) {
    expect_method(wanted.method, wanted.position);
    Row own;
    if (wanted.beside.empty()) own = empty_row(table, wanted.label);
    Row& row = wanted.beside.empty() ? own : row_beside(table, wanted);
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      Cell& cell = row.cells[c];
      if (!shows_published(table.columns[c].spec)) continue;
      cell.published = published_of(table.columns[c], wanted);
      if (cell.published) cell.value = cell.published->value;
    }
    if (std::ranges::none_of(row.cells, [](const Cell& cell) { return cell.published.has_value(); })) {
      throw ConfigError(fmt::format("{}: the published row '{}' has a number in no column", wanted.position.text(), wanted.label));
    }
    if (wanted.beside.empty()) table.rows.push_back(std::move(own));
  }
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (shows_published(table.columns[c].spec)) settle_column(table, c);
  }
}

}  // namespace kronlab::analysis
