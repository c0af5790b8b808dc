#pragma once

#include <memory>
#include <string>
#include <vector>

#include "experiments/pipeline/experiment_spec.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/storage/run_index.hpp"

namespace kronlab::experiments {

/// Where and how runs are done.
struct RunOptions {
  std::string store_path;
  std::string config_folder;  ///< what relative paths of the configuration belong to
  std::vector<std::string> command_line;
  int threads = 1;  ///< of each rank, for the record
  Index max_failures = 3;  ///< a run that failed this often is not tried again
  std::shared_ptr<storage::RunCache> known_runs = {};  ///< of the store, kept over the runs of a sweep; may be null
};

/// A row of the table that a sweep ends with.
struct RunSummary {
  std::string id;
  std::string label;
  bool was_done_before = false;
  std::string held_by;  ///< another job that works on it, for people; then nothing was done
  std::string cell;
  std::string folder;
};

/// The main job for one run: dense evaluation, then stage after stage of statistics, permutation, decomposition and
/// evaluation, all recorded. A run of the same cell that is done is not done again; one that stopped goes on after its
/// last finished stage; one that another job works on is left to it. Collective. `summary` is filled as soon as something
/// is known, so that it tells of a run that ends with an error too.
/// @throws CollectiveError; the run is then recorded as failed, with the reason
/// @throws Interrupted after a signal, with a checkpoint
void run_experiment(const comm::Communicator& communicator, const config::RunSpec& run, const RunOptions& options, RunSummary& summary);

/// The same, with the summary as its result.
RunSummary run_experiment(const comm::Communicator& communicator, const config::RunSpec& run,
                          const RunOptions& options);

}  // namespace kronlab::experiments
