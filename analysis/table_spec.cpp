#include "analysis/table_spec.hpp"

#include <algorithm>

#include "analysis/derived_columns.hpp"
#include "analysis/published_rows.hpp"
#include "framework/base/error.hpp"
#include "framework/base/nearest.hpp"
#include "framework/config/read_toml_file.hpp"
#include "framework/config/strict_table.hpp"

namespace kronlab::analysis {
namespace {

using config::StrictTable;

/// One of several enumerators, whose names are in their sequence.
template <class Enum>
Enum choice_of(const StrictTable& table, const std::string& key, const std::vector<std::string>& names, Enum fallback) {
  const std::string chosen = table.choice(key, names, names[static_cast<std::size_t>(fallback)]);
  return static_cast<Enum>(std::ranges::find(names, chosen) - names.begin());
}

void expect_showable(const ColumnSpec& column) {
  const std::string& show = column.show;
  const bool is_known = show.find('/') != std::string::npos || show.starts_with("varied.") || shows_published(column) ||
                        std::ranges::find(named_columns, show) != named_columns.end() || is_derived(column);
  if (is_known) return;
  throw ConfigError(fmt::format("{}: unknown column '{}'{}; known: {}, varied.PATH, published.METRIC, and metrics such as eval/perplexity",
                                column.position.text(), show, did_you_mean(show, named_columns), fmt::join(named_columns, ", ")));
}

/// An empty text is one too: a setting that says nothing.
std::optional<std::string> setting_of(const StrictTable& table) {
  return table.has("setting") ? std::optional(table.text("setting")) : std::nullopt;
}

ColumnSpec column_from(const StrictTable& table, const config::Value& written) {
  ColumnSpec column;
  column.position = written.position;
  column.show = table.text("show");
  column.method = table.text("method", "");
  column.model = table.text("model", "");
  column.setting = setting_of(table);
  column.dataset = table.text("dataset", "");
  column.protocol = table.text("protocol", "");
  column.text = table.text("text", "");
  column.header = table.text("header", "");
  if (table.has("better")) column.better = choice_of(table, "better", {"none", "lower", "higher"}, Better::none);
  column.digits = table.find_integer("digits", {.least = 1, .most = 17});
  expect_showable(column);
  if (table.has("of")) column.of = table.texts("of");
  const std::size_t num_of = column.show == "ratio-to-dense" ? 1 : column.show == "difference" ? 2 : 0;
  if (column.of.size() != num_of) {
    throw ConfigError(fmt::format("{}: column '{}': of {} header(s), expected {}", column.position.text(), column.show, column.of.size(), num_of));
  }
  if (!shows_published(column) && (!column.method.empty() || !column.model.empty() || column.setting)) {
    throw ConfigError(fmt::format("{}: column '{}': method, model and setting are of published.METRIC", column.position.text(), column.show));
  }
  return column;
}

PublishedRow published_from(const StrictTable& table, const config::Value& written) {
  const std::string method = table.text("method", "");
  return {method, table.text("model", ""), setting_of(table), table.text("label", method), table.text("beside", ""), written.position};
}

/// The n-th table of an array, for its position.
const config::Value& entry_of(const config::Value& root, const std::string& key, std::size_t n) {
  return *config::value_at(root, fmt::format("{}.{}", key, n));
}

}  // namespace

TableSpec read_table_spec(const std::string& file) {
  const config::Value root = config::read_toml_file(file);
  const StrictTable table(root);
  TableSpec spec;
  spec.title = table.text("title", "");
  const StrictTable runs = table.table_or_empty("runs");
  spec.experiment = runs.text("experiment", "");
  spec.state = runs.text("state", "");
  spec.where = runs.text("where", "");
  spec.rows = choice_of(table, "rows", rows_words, spec.rows);
  spec.spread = choice_of(table, "spread", {"deviation", "interval"}, spec.spread);
  spec.sort = table.text("sort", "");
  if (table.has("notes")) spec.notes = table.texts("notes");
  const auto columns = table.tables("column");
  for (std::size_t n = 0; n < columns.size(); ++n) spec.columns.push_back(column_from(columns[n], entry_of(root, "column", n)));
  const auto published = table.tables("published");
  for (std::size_t n = 0; n < published.size(); ++n) {
    spec.published.push_back(published_from(published[n], entry_of(root, "published", n)));
  }
  table.finish();
  return spec;
}

ColumnSpec column_named(const std::string& show) {
  ColumnSpec column;
  column.show = show;
  column.position.file = "--columns";
  expect_showable(column);
  return column;
}

}  // namespace kronlab::analysis
