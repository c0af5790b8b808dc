#pragma once

#include <string>
#include <vector>

#include "framework/storage/run_reader.hpp"

namespace CLI {
class App;
}

namespace kronlab::analysis {

/// The runs that a command is about.
struct RunSelection {
  std::string store;              ///< --store, $KRONLAB_STORE or ./kronlab-store
  std::vector<std::string> runs;  ///< ids, unique beginnings or ends of ids, or paths of run folders; none: all
  std::string experiment;         ///< only runs of this experiment; empty: of any

  void add_store_option(CLI::App& command);
  void add_run_arguments(CLI::App& command);
};

/// One run by id, unique beginning or end of an id, or path.
/// @throws ConfigError if no run or more than one answers to `name`; StorageError if it cannot be read
storage::RunReader open_run(const std::string& store, const std::string& name);

/// All chosen runs. Where all runs of a store are meant, those that cannot be read are named on standard error.
std::vector<storage::RunReader> open_runs(const RunSelection& selection);

/// How a run is called in tables and pictures.
std::string label_of(const storage::RunDescription& description);

}  // namespace kronlab::analysis
