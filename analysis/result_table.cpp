#include "analysis/result_table.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <map>
#include <set>

#include "analysis/derived_columns.hpp"
#include "analysis/paired_marks.hpp"
#include "analysis/published_rows.hpp"
#include "analysis/table_columns.hpp"
#include "framework/base/error.hpp"
#include "framework/base/nearest.hpp"
#include "framework/storage/slowdown.hpp"

namespace kronlab::analysis {
namespace {

using storage::ResultRow;

constexpr const char* seed_path = "experiment.seed";

/// Rows of single runs that a table shows as one.
using Group = std::vector<const ResultRow*>;

std::string seed_of(const ResultRow& row) {
  for (const auto& [path, value] : row.parameters) {
    if (path == seed_path) return value;
  }
  return {};
}

/// The resolved configuration without the seed; the whole text where it cannot be read.
std::string configuration_of(const storage::RunDescription& description) {
  try {
    config::Value config = config::parse_toml(description.config_toml, "config.toml");
    if (const config::Value* experiment = config::value_at(config, "experiment")) {
      auto table = *experiment->as<config::Value::Table>();
      table.erase("seed");
      config::assign(config, "experiment", config::Value(std::move(table)));
    }
    return config::to_text(config);
  } catch (const ConfigError&) {
    return description.config_toml;
  }
}

/// Runs that differ in nothing but their seed; a second run of one seed is a group of its own.
std::vector<Group> groups_of(const storage::Results& results, RowsBy rows, const std::vector<storage::RunReader>& runs) {
  std::vector<Group> groups;
  std::map<std::string, std::size_t> known;
  for (const auto& row : results.rows) {
    const std::string seed = seed_of(row);
    if (row.is_dense || rows != RowsBy::configuration || seed.empty()) {
      groups.push_back({&row});
      continue;
    }
    const auto description = runs[row.run].description();
    std::string key = description.model_name + configuration_of(description);
    const auto has_seed = [&](const Group& group) { return std::ranges::any_of(group, [&](const auto* other) { return seed_of(*other) == seed; }); };
    auto found = known.find(key);
    for (; found != known.end() && has_seed(groups[found->second]); found = known.find(key)) key += "+";
    if (found == known.end()) {
      known[key] = groups.size();
      groups.push_back({&row});
    } else {
      groups[found->second].push_back(&row);
    }
  }
  return groups;
}

/// A label without the word for the seed: "kronecker seed=1" -> "kronecker".
std::string label_of(const Group& group) {
  std::string label = group.front()->label;
  if (group.size() == 1) return label;
  const std::string word = "seed=" + seed_of(*group.front());
  const auto at = label.rfind(word);
  if (at == std::string::npos) return label;
  const auto begin = label.rfind(' ', at);
  label.erase(begin == std::string::npos ? 0 : begin, at + word.size() - (begin == std::string::npos ? 0 : begin));
  return label.empty() ? "run" : label;
}

std::string text_of(const ColumnSpec& spec, const Group& group) {
  if (spec.show == "label") return label_of(group);
  std::set<std::string> texts;
  for (const auto* row : group) {
    if (spec.show == "state") {
      texts.insert(row->is_dense ? "-" : row->state);
      continue;
    }
    for (const auto& [path, value] : row->parameters) {
      if (path == spec.show.substr(7)) texts.insert(value);
    }
  }
  return texts.empty() ? "-" : fmt::format("{}", fmt::join(texts, ", "));
}

void summarise(Cell& cell, Spread spread) {
  const auto n = static_cast<double>(cell.sources.size());
  if (cell.sources.empty()) return;
  double sum = 0, squares = 0;
  for (const auto& source : cell.sources) sum += source.value.value;
  cell.value = sum / n;
  if (cell.sources.size() == 1) {
    cell.error = cell.sources.front().value.standard_error;
    cell.error_kind = cell.error ? ErrorKind::standard_error : ErrorKind::none;
    return;
  }
  for (const auto& source : cell.sources) squares += std::pow(source.value.value - *cell.value, 2);
  const double deviation = std::sqrt(squares / (n - 1));
  cell.error_kind = spread == Spread::deviation ? ErrorKind::deviation : ErrorKind::interval;
  cell.error = deviation;
  if (spread == Spread::interval) {
    const boost::math::students_t distribution(n - 1);
    cell.error = boost::math::quantile(distribution, 0.975) * deviation / std::sqrt(n);
  }
}

/// What one run has for a column; nothing where it has not, or has it of another text.
std::optional<storage::Value> value_of(const Column& column, const ResultRow& row, const storage::Results& results, const Measured& measured) {
  const auto as_value = [](const std::optional<double>& number) {
    return number ? std::optional(storage::Value{*number, {}, -1, 0}) : std::nullopt;
  };
  if (column.spec.show == "relative_error") return as_value(row.relative_error);
  if (column.spec.show == "weighted_error") return as_value(row.weighted_error);
  if (column.spec.show == "seconds") return as_value(row.seconds);
  const auto at = std::ranges::find(results.measures, *column.measure) - results.measures.begin();
  const auto& value = row.measured[static_cast<std::size_t>(at)];
  if (!value || column.spec.text.empty()) return value;
  const auto* evaluation = evaluation_of(measured.evaluations[row.run], *column.measure, *value);
  return evaluation && evaluation->data_sha256.starts_with(column.spec.text) ? value : std::nullopt;
}

Row row_of(const Group& group, const std::vector<Column>& columns, const storage::Results& results, const Measured& measured, Spread spread) {
  Row row;
  row.label = label_of(group);
  row.is_dense = group.front()->is_dense;
  for (const auto* run : group) row.runs.push_back(run->run);
  for (const auto& column : columns) {
    Cell& cell = row.cells.emplace_back();
    if (shows_published(column.spec) || is_derived(column.spec)) continue;
    if (column.unit.empty()) {
      cell.text = text_of(column.spec, group);
    } else if (column.spec.show == "runs") {
      if (!row.is_dense) cell.value = static_cast<double>(group.size());
    } else {
      for (const auto* run : group) {
        if (const auto value = value_of(column, *run, results, measured)) cell.sources.push_back({run->run, *value});
      }
      summarise(cell, spread);
    }
  }
  return row;
}

/// Of each group's first run, under the label of its last row.
void add_slowdowns(ResultTable& table, const std::vector<storage::RunReader>& runs) {
  std::map<std::size_t, std::string> labels;
  for (const auto& row : table.rows) {
    if (!row.is_dense) labels[row.runs.front()] = row.label;
  }
  for (const auto& [run, label] : labels) {
    const std::string slowdown = storage::slowdown_of(runs[run].metrics());
    if (!slowdown.empty()) table.notes.push_back(label + ": " + slowdown);
  }
}

void sort_rows(ResultTable& table, const std::string& header) {
  if (header.empty()) return;
  std::vector<std::string> headers;
  for (const auto& column : table.columns) headers.push_back(column.header);
  const auto found = std::ranges::find(headers, header);
  if (found == headers.end()) {
    throw ConfigError(fmt::format("sort: no column '{}'{}; there are: {}", header, did_you_mean(header, headers), fmt::join(headers, ", ")));
  }
  const auto c = static_cast<std::size_t>(found - headers.begin());
  std::ranges::stable_sort(table.rows, [c](const Row& a, const Row& b) {
    const auto key = [c](const Row& row) {
      const Cell& cell = row.cells[c];
      const bool has_value = cell.value && !std::isnan(*cell.value);
      return std::tuple(row.is_published, !row.is_dense, !has_value, has_value ? *cell.value : 0.0, cell.text);
    };
    return key(a) < key(b);
  });
}

}  // namespace

ResultTable result_table(const TableSpec& spec, const std::vector<storage::RunReader>& runs) {
  if (spec.rows == RowsBy::published) expect_only_published(spec);
  Measured measured;
  measured.measures = storage::measures_of(runs);
  for (const auto& run : runs) measured.evaluations.push_back(run.evaluations());
  const auto by = spec.rows == RowsBy::measurement ? storage::RowsOfRun::all : storage::RowsOfRun::last;
  std::vector<storage::Measure> wanted;  // of any column: a measurement in which nothing of them was taken has no row
  for (auto& column : columns_of(spec, measured, true)) {
    if (column.measure && std::ranges::find(wanted, *column.measure) == wanted.end()) wanted.push_back(*column.measure);
  }
  const auto results = storage::results_of(runs, by, wanted);
  measured.varied = results.parameter_names;
  const auto groups = groups_of(results, spec.rows, runs);
  const bool has_groups = std::ranges::any_of(groups, [](const Group& group) { return group.size() > 1; });
  ResultTable table{spec.title, {}, columns_of(spec, measured, has_groups), {}};
  for (const auto& run : runs) table.run_ids.push_back(run.id());
  for (const auto& group : groups) table.rows.push_back(row_of(group, table.columns, results, measured, spec.spread));
  mark_best(table, results, measured);
  add_slowdowns(table, runs);
  add_published(table, spec.published);
  add_derived(table);
  table.notes.insert(table.notes.end(), spec.notes.begin(), spec.notes.end());
  sort_rows(table, spec.sort);
  return table;
}

std::string meaning_of(const Column& column) {
  if (!column.measure || (column.measure->dataset.empty() && column.measure->protocol.empty())) return {};
  return storage::place_of(*column.measure) + (column.spec.text.empty() ? "" : ", text " + column.spec.text);
}

}  // namespace kronlab::analysis
