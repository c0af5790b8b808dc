#include <fnmatch.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "analysis/array_csv.hpp"
#include "analysis/commands.hpp"
#include "analysis/metrics_file.hpp"
#include "analysis/run_selection.hpp"
#include "framework/storage/array_file.hpp"

namespace kronlab::analysis {
namespace {

namespace fs = std::filesystem;

struct Options {
  RunSelection selection;
  std::string metrics;  ///< the file to write; empty: none
  std::string arrays;   ///< a pattern; empty: none
  std::string out;      ///< folder of the arrays
};

/// An array's name as a path below `folder`. @throws StorageError if it would lead out of it
fs::path path_below(const fs::path& folder, const std::string& name) {
  const fs::path relative = fs::path(name).lexically_normal();
  if (relative.empty() || relative.is_absolute() || *relative.begin() == "..") throw StorageError(fmt::format("array '{}' cannot be the name of a file", name));
  return folder / (relative.string() + ".csv");
}

/// @return how many arrays were written
std::size_t export_arrays(const storage::RunReader& run, const Options& options) {
  const fs::path file = run.folder() / "arrays.h5";
  if (!fs::exists(file)) {
    std::fprintf(stderr, "kronlab-report: run %s has no arrays: there is no '%s'\n", run.id().c_str(), file.string().c_str());
    return 0;
  }
  const storage::ArrayReader arrays(file.string());
  std::size_t written = 0;
  for (const auto& name : arrays.names()) {
    if (::fnmatch(options.arrays.c_str(), name.c_str(), 0) != 0) continue;
    const fs::path path = path_below(fs::path(options.out) / run.id(), name);
    std::error_code code;
    fs::create_directories(path.parent_path(), code);
    if (code) throw StorageError(fmt::format("cannot make the folder '{}': {}", path.parent_path().string(), code.message()));
    write_array_csv(arrays, name, path);
    ++written;
  }
  return written;
}

std::string known_names(const std::vector<storage::RunReader>& runs) {
  for (const auto& run : runs) {
    const fs::path file = run.folder() / "arrays.h5";
    if (!fs::exists(file)) continue;
    const auto names = storage::ArrayReader(file.string()).names();
    return fmt::format("run {} has {}", run.id(), fmt::join(names.begin(), names.begin() + std::min<std::ptrdiff_t>(std::ssize(names), 8), ", "));
  }
  return "no run has arrays";
}

void run(const Options& options) {
  if (options.metrics.empty() && options.arrays.empty()) throw ConfigError("nothing to export: expected --metrics FILE, or --arrays PATTERN with --out DIR");
  if (options.arrays.empty() != options.out.empty()) throw ConfigError("--arrays PATTERN and --out DIR belong together: one is missing");
  const auto runs = open_runs(options.selection);
  if (!options.metrics.empty()) {
    const Index count = write_metrics_file(runs, options.metrics);
    std::fprintf(stderr, "wrote %s: %lld metrics of %zu run(s)\n", options.metrics.c_str(), static_cast<long long>(count), runs.size());
  }
  if (options.arrays.empty()) return;
  std::size_t written = 0;
  for (const auto& reader : runs) written += export_arrays(reader, options);
  if (written == 0) throw ConfigError(fmt::format("no array matches '{}'; {}", options.arrays, known_names(runs)));
  std::fprintf(stderr, "wrote %zu array(s) below %s\n", written, options.out.c_str());
}

}  // namespace

void add_export_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("export", "Metrics of runs to a CSV or JSON file, arrays to CSV files: every digit");
  options->selection.add_store_option(*command);
  options->selection.add_run_arguments(*command);
  command->add_option("--metrics", options->metrics, "The file to write, by its extension: .csv or .json (an array of one object for each metric)");
  command->add_option("--arrays", options->arrays, "Arrays of arrays.h5 whose name matches: '*/spectrum', 'stages/0/*' (* also stands for slashes)");
  command->add_option("--out", options->out, "Folder for the arrays: DIR/RUN/NAME.csv, a row for each element: its place in each axis, its value");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
