#include "slurm/planned_run.hpp"

#include <nlohmann/json.hpp>

#include "framework/base/error.hpp"
#include "slurm/command.hpp"

namespace kronlab::slurm {
namespace {

using nlohmann::json;

std::string text_or_nothing(const json& value) { return value.is_null() ? "" : value.get<std::string>(); }

PlannedRun parse_run(const json& run) {
  if (!run.at("missing").is_null()) throw ConfigError(fmt::format("run '{}': {}", run.at("label").get<std::string>(), run.at("missing").get<std::string>()));
  PlannedRun planned;
  planned.experiment = run.at("experiment"), planned.label = run.at("label");
  planned.cell = run.at("cell"), planned.state = run.at("state"), planned.reason = text_or_nothing(run.at("reason"));
  planned.memory_bytes = run.at("memory_bytes_per_rank"), planned.estimated_seconds = run.at("estimate").at("seconds");
  if (!run.at("mean_seconds").is_null()) planned.mean_seconds = run.at("mean_seconds").get<double>();
  return planned;
}

}  // namespace

std::vector<PlannedRun> parse_planned_runs(const std::string& text) {
  std::vector<PlannedRun> runs;
  try {
    const json answer = json::parse(text);
    for (const auto& run : answer.at("runs")) runs.push_back(parse_run(run));
  } catch (const json::exception& error) {
    throw StorageError(fmt::format("kronlab check gave no list of runs: {}", error.what()));
  }
  return runs;
}

std::vector<PlannedRun> planned_runs(const std::string& kronlab, const SweepFile& sweep, const Machine& machine, const std::string& machine_file) {
  // A login node may have fewer cores than the threads that the user's environment asks for.
  std::vector<std::string> words{"env", "OMP_NUM_THREADS=1", kronlab, "check", sweep.path, "--json", "--store", sweep.store};
  words.insert(words.end(), {"--ranks", std::to_string(machine.ranks), "--threads", std::to_string(machine.threads)});
  if (machine.has_rates) words.insert(words.end(), {"--machine", machine_file});
  for (const auto& text : sweep.overrides) words.insert(words.end(), {"--set", text});
  const auto output = run_command(words);
  if (output.exit_code == static_cast<int>(ExitCode::usage)) throw ConfigError(output.err);
  if (output.exit_code != 0) throw StorageError(fmt::format("'{}' ended with {}: {}", quoted(words), output.exit_code, output.err));
  return parse_planned_runs(output.out);
}

}  // namespace kronlab::slurm
