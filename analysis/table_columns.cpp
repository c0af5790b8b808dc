#include "analysis/table_columns.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "analysis/derived_columns.hpp"
#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

using storage::Measure;

constexpr std::size_t text_digits = 8;

[[noreturn]] void fail(const ColumnSpec& spec, const std::string& message) {
  throw ConfigError(fmt::format("{}: column '{}': {}", spec.position.text(), spec.show, message));
}

/// Two things that would share a column: an error in a table that someone wrote, a column each where nobody did.
void expect_one(const ColumnSpec& spec, const std::string& dataset, const char* what, const char* key, const std::set<std::string>& found) {
  if (found.size() < 2) return;
  const std::string first = *found.begin(), second = *std::next(found.begin());
  fail(spec, fmt::format("{}two {} cannot share a column: '{}' and '{}'; choose one with {} = \"...\"",
                         dataset.empty() ? "" : "'" + dataset + "': ", what, first, second, key));
}

Better better_by_name(const std::string& show) {
  for (const char* name : {"perplexity", "nll", "error", "loss", "divergence", "kl"}) {
    if (show.ends_with(name)) return Better::lower;
  }
  return show.ends_with("accuracy") ? Better::higher : Better::none;
}

std::string unit_of(const std::string& show) {
  if (show == "seconds") return "s";
  return show == "runs" || show.ends_with("_error") ? "1" : "";
}

std::string header_of(const std::string& show) {
  static const std::map<std::string, std::string> short_headers = {{"relative_error", "rel. error"},
                                                                   {"weighted_error", "weighted error"},
                                                                   {"seconds", "time"},
                                                                   {"speed/ratio", "speed"},
                                                                   {"size/stored_bytes", "stored"}};
  if (const auto found = short_headers.find(show); found != short_headers.end()) return found->second;
  if (show.starts_with("varied.")) return show.substr(7);
  std::string header = show.starts_with("published.") ? show.substr(10) + ", published" : show.substr(show.rfind('/') + 1);
  std::ranges::replace(header, '_', ' ');
  return header;
}

Column column_of(const ColumnSpec& spec, const std::string& unit) {
  return {spec, spec.header.empty() ? header_of(spec.show) : spec.header, unit, std::nullopt, spec.better.value_or(better_by_name(spec.show))};
}

/// One column for each place where a metric was measured.
std::vector<Column> metric_columns(const ColumnSpec& spec, const Measured& measured, bool is_written) {
  std::map<std::string, std::vector<Measure>> by_dataset;
  std::set<std::string> names;
  for (const auto& measure : measured.measures) {
    names.insert(measure.name);
    if (measure.name != spec.show || (!spec.dataset.empty() && measure.dataset != spec.dataset)) continue;
    if (measure.protocol.find(spec.protocol) != std::string::npos) by_dataset[measure.dataset].push_back(measure);
  }
  if (by_dataset.empty() && is_written) {
    fail(spec, fmt::format("no run has it{}; measured: {}", spec.dataset.empty() ? "" : " on '" + spec.dataset + "' under such a protocol",
                           fmt::join(names, ", ")));
  }
  std::vector<Column> columns;
  for (const auto& [dataset, measures] : by_dataset) {
    std::set<std::string> protocols, units;
    for (const auto& measure : measures) protocols.insert(measure.protocol), units.insert(measure.unit);
    if (is_written) expect_one(spec, dataset, "protocols", "protocol", protocols), expect_one(spec, dataset, "units", "protocol", units);
    for (const auto& measure : measures) {
      auto texts = measured.texts_of(measure.dataset, measure.protocol);
      std::erase_if(texts, [&](const std::string& text) { return !text.starts_with(spec.text.substr(0, text_digits)); });
      if (is_written) expect_one(spec, dataset, "texts (SHA-256)", "text", texts);
      if (texts.size() < 2) texts = {spec.text};
      for (const auto& text : texts) {
        columns.push_back(column_of(spec, measure.unit));
        columns.back().measure = measure;
        columns.back().spec.text = text;
      }
    }
  }
  return columns;
}

std::vector<ColumnSpec> default_columns(const Measured& measured, const TableSpec& spec, bool has_groups) {
  std::vector<std::string> shows = {"label", "state"};
  if (has_groups) shows.push_back("runs");
  for (const char* show : {"size/parameters", "size/stored_bytes", "eval/perplexity", "speed/ratio", "relative_error", "weighted_error", "seconds"}) {
    shows.emplace_back(show);
  }
  std::set<std::string> metrics;
  for (const auto& row : spec.published) {
    for (const auto& value : published_values()) {
      if (value.method == row.method) metrics.insert("published." + value.metric);
    }
  }
  shows.insert(shows.end(), metrics.begin(), metrics.end());
  // Last: labels tell rows apart, and a value may be a whole table.
  for (const auto& path : measured.varied) {
    if (path != "experiment.seed" || spec.rows != RowsBy::configuration) shows.push_back("varied." + path);
  }
  std::vector<ColumnSpec> columns(shows.size());
  for (std::size_t i = 0; i < shows.size(); ++i) columns[i].show = shows[i];
  return columns;
}

/// Headers that occur more than once are numbered.
void number_headers(std::vector<Column>& columns) {
  std::map<std::string, int> counts, seen;
  for (const auto& column : columns) ++counts[column.header];
  for (auto& column : columns) {
    const std::string header = column.header;
    if (counts[header] > 1) column.header += fmt::format(" [{}]", ++seen[header]);
  }
}

}  // namespace

std::set<std::string> Measured::texts_of(const std::string& dataset, const std::string& protocol) const {
  std::set<std::string> texts;
  for (const auto& of_run : evaluations) {
    for (const auto& evaluation : of_run) {
      if (evaluation.dataset == dataset && evaluation.protocol == protocol) texts.insert(evaluation.data_sha256.substr(0, text_digits));
    }
  }
  return texts;
}

std::vector<Column> columns_of(const TableSpec& spec, const Measured& measured, bool has_groups) {
  const bool is_written = !spec.columns.empty();
  std::vector<Column> columns;
  for (const auto& column : is_written ? spec.columns : default_columns(measured, spec, has_groups)) {
    if (column.show.find('/') == std::string::npos || column.show.starts_with("varied.")) {
      columns.push_back(column_of(column, is_derived(column) ? "1" : unit_of(column.show)));
    } else {
      auto of_metric = metric_columns(column, measured, is_written);
      std::ranges::move(of_metric, std::back_inserter(columns));
    }
  }
  number_headers(columns);
  return columns;
}

const storage::EvaluationRecord* evaluation_of(const std::vector<storage::EvaluationRecord>& evaluations, const Measure& measure,
                                               const storage::Value& value) {
  const auto found = std::ranges::find_if(evaluations, [&](const auto& evaluation) {
    return std::tie(evaluation.dataset, evaluation.protocol, evaluation.stage, evaluation.step) ==
           std::tie(measure.dataset, measure.protocol, value.stage, value.step);
  });
  return found == evaluations.end() ? nullptr : &*found;
}

}  // namespace kronlab::analysis
