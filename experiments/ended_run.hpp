#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "experiments/commands.hpp"
#include "experiments/pipeline/run_experiment.hpp"

namespace kronlab::experiments {

/// How a run of the sweep ended.
struct EndedRun {
  RunSummary summary;
  std::string error;  ///< empty: done
  ExitCode code = ExitCode::done;
  bool is_done() const { return error.empty() && !is_held(); }
  bool is_held() const { return !summary.held_by.empty(); }
  const char* state() const {
    if (is_held()) return "held";
    return code == ExitCode::done ? "done" : code == ExitCode::checkpointed ? "interrupted" : "failed";
  }
};

/// label, state, done_before, and where they apply id, cell, folder, error, held_by and, of a run that is done, results.
nlohmann::json to_json(const EndedRun& ended);
/// All but the results.
EndedRun ended_run_from(const nlohmann::json& json);

/// On standard output: one JSON object or, unless quiet, the table of what is done and a line for each run that is not; then
/// one line of counts.
void print_ended(const RunArguments& arguments, std::size_t num_runs, const std::vector<EndedRun>& all);

/// Seconds until a sweep's other runs are through, if each takes as long as those of `all` on which this process, one of `one_of`
/// that share the sweep, has worked for `elapsed_s`; none if there is no such run.
std::optional<double> seconds_left(const std::vector<EndedRun>& all, std::size_t num_runs, double elapsed_s, int one_of);

/// The exit code of a sweep: 75 if a signal ended it, the runs' own if they all ended alike, else 1.
int exit_code_of(const std::vector<EndedRun>& all);

}  // namespace kronlab::experiments
