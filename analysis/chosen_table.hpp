#pragma once

#include <string>
#include <vector>

#include "analysis/result_table.hpp"
#include "analysis/run_selection.hpp"
#include "analysis/table_spec.hpp"

namespace CLI {
class App;
}

namespace kronlab::analysis {

/// How the user says which table: a SPEC.toml, or flags, and which runs.
struct TableArguments {
  std::string store;
  std::string spec;                  ///< path of a SPEC.toml; empty: none
  std::vector<std::string> runs;     ///< none: those that the SPEC or `experiment` chooses
  std::string experiment;
  std::vector<std::string> columns;  ///< in place of the SPEC's or the default ones
  std::string rows, spread, sort;    ///< in place of the SPEC's; empty: as it says

  void add_store_and_flags(CLI::App& command);
  /// Paths that end in .toml are a SPEC, anything else is a run. @throws ConfigError for a second SPEC
  void take_words(const std::vector<std::string>& words);
};

struct ChosenTable {
  TableArguments arguments;  ///< `rows` says so where the table has no runs
  ResultTable table;
  std::vector<storage::RunReader> runs;
};

/// @throws ConfigError if there is no such run, or as read_table_spec and result_table
ChosenTable chosen_table(const TableArguments& arguments);

}  // namespace kronlab::analysis
