#include "analysis/run_selection.hpp"

#include <cstdio>
#include <filesystem>

#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

namespace fs = std::filesystem;

std::string joined_ids(const std::vector<storage::RunListing>& runs) {
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, runs.size()); ++i) text += (i > 0 ? ", " : "") + runs[i].id;
  return runs.size() > most ? fmt::format("{}, ... ({} in all)", text, runs.size()) : text;
}

}  // namespace

void RunSelection::add_store_option(CLI::App& command) {
  store = "./kronlab-store";
  command.add_option("--store", store, "Folder of the store")->envname("KRONLAB_STORE")->capture_default_str();
}

void RunSelection::add_run_arguments(CLI::App& command) {
  command.add_option("RUN", runs, "Runs: id, unique beginning or end of an id, or path of a run's folder (none: all)");
  command.add_option("--experiment", experiment, "Only runs of the experiment with this name");
}

storage::RunReader open_run(const std::string& store, const std::string& name) {
  if (name.find('/') != std::string::npos || fs::exists(fs::path(name) / "run.sqlite")) {
    fs::path folder = fs::path(name).lexically_normal();
    if (!folder.has_filename()) folder = folder.parent_path();
    return storage::RunReader(folder);
  }
  const auto all = storage::list_run_folders(store);
  std::vector<storage::RunListing> matches;
  for (const auto& run : all) {
    if (run.id == name) return storage::RunReader(run.folder);
    if (!name.empty() && (run.id.starts_with(name) || run.id.ends_with(name))) matches.push_back(run);
  }
  if (matches.size() == 1) return storage::RunReader(matches.front().folder);
  if (matches.empty()) {
    throw ConfigError(
        fmt::format("no run '{}' in the store '{}'; it has {}", name, store, all.empty() ? "none" : joined_ids(all)));
  }
  throw ConfigError(fmt::format("'{}' may be any of {} runs: {}", name, matches.size(), joined_ids(matches)));
}

std::vector<storage::RunReader> open_runs(const RunSelection& selection) {
  std::vector<storage::RunReader> readers;
  if (selection.runs.empty()) {
    for (const auto& run : storage::list_runs(selection.store)) {
      if (run.problem.empty()) {
        readers.emplace_back(run.folder);
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

}  // namespace kronlab::analysis
