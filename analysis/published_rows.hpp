#pragma once

#include "analysis/result_table.hpp"

namespace kronlab::analysis {

/// Whether a column is of published numbers.
bool shows_published(const ColumnSpec& column);

/// @throws ConfigError if a table of published numbers alone has no columns, no rows, or columns of runs
void expect_only_published(const TableSpec& spec);

/// A row for each of `rows`, with the published number where it meets a column that shows one. @throws ConfigError for an unknown
/// method, a row or a column without a number, a cell with several, and a column with two protocols, data sets or units
void add_published(ResultTable& table, const std::vector<PublishedRow>& rows);

}  // namespace kronlab::analysis
