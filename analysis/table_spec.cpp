#include "analysis/table_spec.hpp"

#include <algorithm>

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
  const bool is_known = show.find('/') != std::string::npos || show.starts_with("varied.") || show.starts_with("published.") ||
                        std::ranges::find(named_columns, show) != named_columns.end();
  if (is_known) return;
  throw ConfigError(fmt::format("{}: unknown column '{}'{}; known: {}, varied.PATH, published.METRIC, and metrics such as eval/perplexity",
                                column.position.text(), show, did_you_mean(show, named_columns), fmt::join(named_columns, ", ")));
}

ColumnSpec column_from(const StrictTable& table, const config::Value& written) {
  ColumnSpec column;
  column.position = written.position;
  column.show = table.text("show");
  column.dataset = table.text("dataset", "");
  column.protocol = table.text("protocol", "");
  column.text = table.text("text", "");
  column.header = table.text("header", "");
  if (table.has("better")) column.better = choice_of(table, "better", {"none", "lower", "higher"}, Better::none);
  column.digits = table.find_integer("digits", {.least = 1, .most = 17});
  expect_showable(column);
  return column;
}

PublishedRow published_from(const StrictTable& table, const config::Value& written) {
  return {table.text("method"), table.text("model", ""), table.text("setting", ""), table.text("label", ""), written.position};
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
  spec.rows = choice_of(table, "rows", {"configuration", "run", "measurement"}, spec.rows);
  spec.spread = choice_of(table, "spread", {"deviation", "interval"}, spec.spread);
  spec.sort = table.text("sort", "");
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
