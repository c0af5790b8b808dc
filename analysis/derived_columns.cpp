#include "analysis/derived_columns.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "framework/base/error.hpp"
#include "framework/base/nearest.hpp"

namespace kronlab::analysis {
namespace {

constexpr const char* ratio_to_dense = "ratio-to-dense";

std::size_t column_at(const ResultTable& table, const ColumnSpec& spec, const std::string& header) {
  std::vector<std::string> headers;
  for (const auto& column : table.columns) headers.push_back(column.header);
  const auto found = std::ranges::find(headers, header);
  if (found == headers.end()) {
    throw ConfigError(fmt::format("{}: column '{}': of '{}', which is no header{}; there are: {}", spec.position.text(), spec.show, header,
                                  did_you_mean(header, headers), fmt::join(headers, ", ")));
  }
  return static_cast<std::size_t>(found - headers.begin());
}

/// Of the dense model that the value's model is.
std::optional<double> published_dense(const PublishedValue& of) {
  for (const auto& value : published_values()) {
    if (value.method == "dense" && std::tie(value.model, value.metric, value.dataset, value.protocol) == std::tie(of.model, of.metric, of.dataset, of.protocol)) {
      return value.value;
    }
  }
  return {};
}

std::optional<double> measured_dense(const ResultTable& table, std::size_t c) {
  std::optional<double> least;
  for (const auto& row : table.rows) {
    const auto& value = row.cells[c].value;
    if (row.is_dense && value && (!least || *value < *least)) least = value;
  }
  return least;
}

void set(Cell& cell, double value, std::string arithmetic) { cell.value = value, cell.arithmetic = std::move(arithmetic); }

void fill_ratio(ResultTable& table, std::size_t c) {
  const std::size_t of = column_at(table, table.columns[c].spec, table.columns[c].spec.of.front());
  const auto measured = measured_dense(table, of);
  for (auto& row : table.rows) {
    const Cell& cell = row.cells[of];
    const auto dense = cell.published ? published_dense(*cell.published) : measured;
    if (cell.value && dense && *dense != 0) set(row.cells[c], *cell.value / *dense, fmt::format("{} / {}, of the dense model", *cell.value, *dense));
  }
}

void fill_difference(ResultTable& table, std::size_t c) {
  const auto& spec = table.columns[c].spec;
  const std::size_t first = column_at(table, spec, spec.of[0]), second = column_at(table, spec, spec.of[1]);
  for (auto& row : table.rows) {
    const auto &a = row.cells[first].value, &b = row.cells[second].value;
    if (a && b) set(row.cells[c], *a - *b, fmt::format("{} - {}", *a, *b));
  }
}

}  // namespace

bool is_derived(const ColumnSpec& column) { return std::ranges::find(derived_columns, column.show) != derived_columns.end(); }

void add_derived(ResultTable& table) {
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const auto& spec = table.columns[c].spec;
    if (!is_derived(spec)) continue;
    spec.show == ratio_to_dense ? fill_ratio(table, c) : fill_difference(table, c);
    if (std::ranges::none_of(table.rows, [&](const Row& row) { return row.cells[c].value.has_value(); })) {
      throw ConfigError(fmt::format("{}: column '{}': no row has a number for it", spec.position.text(), table.columns[c].header));
    }
  }
}

}  // namespace kronlab::analysis
