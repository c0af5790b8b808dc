#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analysis/published.hpp"
#include "analysis/table_spec.hpp"
#include "framework/storage/run_reader.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::analysis {

/// What stands behind ±.
enum class ErrorKind {
  none,
  standard_error,  ///< of one run, over the text's windows
  deviation,       ///< of several runs, n - 1
  interval,        ///< half of the 95 % interval of the mean of several runs, Student's t
};

/// tied: a paired test does not tell it from the best (p > 0.05); untested: there is none, as windows were not recorded.
enum class Mark { none, best, tied, untested };

/// One run's part in a number.
struct Source {
  std::size_t run = 0;  ///< position among the table's runs
  storage::Value value;
};

struct Cell {
  std::string text;             ///< where it is no number
  std::optional<double> value;  ///< mean over the sources
  std::optional<double> error;
  ErrorKind error_kind = ErrorKind::none;
  Mark mark = Mark::none;
  std::optional<double> p_value;  ///< of the paired test against the best
  std::vector<Source> sources;
  std::optional<PublishedValue> published;
  std::string arithmetic;  ///< of a derived column: what the value was computed from
};

struct Column {
  ColumnSpec spec;
  std::string header;  ///< unique in the table, without the unit
  std::string unit;    ///< empty for texts, "1" for pure numbers
  std::optional<storage::Measure> measure;
  Better better = Better::none;
};

struct Row {
  std::string label;
  bool is_dense = false;
  bool is_published = false;
  std::vector<std::size_t> runs;  ///< positions among the table's runs
  std::vector<Cell> cells;        ///< one for each column
};

/// A table with the way back from each number to its runs.
struct ResultTable {
  std::string title;
  std::vector<std::string> run_ids;
  std::vector<Column> columns;
  std::vector<Row> rows;  ///< dense models, runs, published methods
  std::vector<std::string> notes = {};  ///< which models became smaller and slower
};

/// @throws ConfigError if a column has nothing to show, if two protocols, units or texts of one name would share a column
/// (with both), or if a published row is unknown
ResultTable result_table(const TableSpec& spec, const std::vector<storage::RunReader>& runs);

/// "perplexity on WikiText-2, token-perplexity window=1024": what a column's numbers are; empty where the header says it all.
std::string meaning_of(const Column& column);

}  // namespace kronlab::analysis
