#include "analysis/run_selection.hpp"

#include <CLI/App.hpp>
#include <cstdio>

#include "framework/base/error.hpp"
#include "framework/storage/find_run.hpp"
#include "framework/storage/run_index.hpp"

namespace kronlab::analysis {

void RunSelection::add_store_option(CLI::App& command) {
  store = "./kronlab-store";
  command.add_option("--store", store, "Folder of the store")->envname("KRONLAB_STORE")->capture_default_str();
}

void RunSelection::add_run_arguments(CLI::App& command) {
  command.add_option("RUN", runs, "Runs: id, unique beginning or end of an id, or path of a run's folder (none: all)");
  command.add_option("--experiment", experiment, "Only runs of the experiment with this name");
}

storage::RunReader open_run(const std::string& store, const std::string& name) {
  return storage::RunReader(storage::find_run(store, name));
}

std::vector<storage::RunReader> open_runs(const RunSelection& selection) {
  std::vector<storage::RunReader> readers;
  if (selection.runs.empty()) {
    for (const auto& run : storage::indexed_runs(selection.store)) {
      if (run.problem.empty()) {
        if (selection.experiment.empty() || run.name == selection.experiment) readers.emplace_back(run.folder);
      } else {
        std::fprintf(stderr, "kronlab-report: left out %s: %s\n", run.id.c_str(), run.problem.c_str());
      }
    }
  }
  for (const auto& name : selection.runs) readers.push_back(open_run(selection.store, name));
  if (!selection.experiment.empty()) {
    std::erase_if(readers, [&](const auto& run) { return run.description().name != selection.experiment; });
  }
  if (readers.empty()) {
    const std::string of = selection.experiment.empty() ? "" : fmt::format(" of experiment '{}'", selection.experiment);
    throw ConfigError(fmt::format("the store '{}' has no run{}", selection.store, of));
  }
  return readers;
}

std::string label_of(const storage::RunDescription& description) {
  return description.label.empty() ? description.name : description.label;
}

}  // namespace kronlab::analysis
