#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/config/value.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::analysis {

/// Which number of a column is the best one, shown in bold.
enum class Better { none, lower, higher };

/// What a column shows. Metrics that were measured in several places stand for a column each.
struct ColumnSpec {
  std::string show;      ///< a metric ("eval/perplexity"), "varied.PATH", "published.METRIC", or one of `named_columns` or `derived_columns`
  std::string method, model;             ///< of a published value, where the row does not say it; empty: any
  std::optional<std::string> setting;    ///< of a published value; its parts add to those of the row
  std::string dataset;   ///< of a metric or a published value; empty: any
  std::string protocol;  ///< a part of it is enough; empty: any, as long as there is one
  std::vector<std::string> of;  ///< of a derived column: headers of the columns that it is computed from
  std::string text;      ///< beginning of the SHA-256 of the data set's file; empty: any, as long as there is one
  std::string header;    ///< empty: from what it shows
  std::optional<Better> better;  ///< none: as the metric's name says
  std::optional<Index> digits;   ///< significant ones; none: as many as the spread needs
  config::Position position;     ///< where it was asked for, for errors
};
/// Computed from others (derived_columns.hpp): the one column of "ratio-to-dense", the two of "difference".
inline const std::vector<std::string> derived_columns = {"ratio-to-dense", "difference"};
inline const std::vector<std::string> named_columns = {"label", "relative_error", "runs", "seconds", "state", "weighted_error"};

/// Published numbers that get a row: what they have in common, as in published.toml. What differs is for the columns to say.
struct PublishedRow {
  std::string method, model;           ///< empty: any, as the column says
  std::optional<std::string> setting;  ///< "2:4, bits 4" are two parts; with the column's it is all that a value's setting says; none in both: any
  std::string label;                   ///< the method's name where none was asked for
  std::string beside;                  ///< label of a row of runs in which they stand too, instead of in one of their own; empty: none
  config::Position position;
};

/// What is behind ± where a row has several runs; of a single run it is the standard error over the text's windows.
enum class Spread { deviation, interval };

/// In the sequence of their names in `rows_words`.
enum class RowsBy {
  configuration,  ///< runs that differ in nothing but their seed share a row
  run,
  measurement,  ///< a row for each stage of each run after its compression, and after its training
  published,    ///< nothing but published numbers: no store is read
};

inline const std::vector<std::string> rows_words = {"configuration", "run", "measurement", "published"};

/// A table as a small TOML file describes it:
///
///   title = "MLPs at half size"
///   runs = { experiment = "healing", state = "done", where = "perplexity < 100" }   # all of them optional
///   rows = "configuration"            # or "run", "measurement"; "published": no runs, only published numbers
///   spread = "deviation"              # over seeds, or "interval": of 95 % for the mean, by Student's t
///   sort = "perplexity"               # by that header, the lowest first
///   notes = ["zero-shot"]             # lines below the table
///   [[column]]
///   show = "label"
///   [[column]]
///   show = "eval/perplexity"
///   dataset = "WikiText-2"
///   [[column]]
///   show = "published.perplexity"     # numbers that others have published have columns of their own
///   dataset = "WikiText-103"
///   [[published]]
///   method = "KnGPT-2"                # also model, setting, label; beside: the label of a row of runs that has them too
///
/// A published number is where row and column meet: both may name method, model and setting.
/// Without columns: label, what the runs vary, sizes, every perplexity, errors, seconds.
struct TableSpec {
  std::string title;
  std::string experiment, state, where;  ///< which runs, where none are named; empty: all
  RowsBy rows = RowsBy::configuration;
  Spread spread = Spread::deviation;
  std::string sort;  ///< empty: dense models, then runs by time
  std::vector<std::string> notes;
  std::vector<ColumnSpec> columns;
  std::vector<PublishedRow> published;
};

/// @throws ConfigError with file, line and column; StorageError if the file cannot be read
TableSpec read_table_spec(const std::string& file);

/// A column of the command line: "eval/perplexity", "label".
ColumnSpec column_named(const std::string& show);

}  // namespace kronlab::analysis
