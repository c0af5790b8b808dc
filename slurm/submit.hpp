#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "slurm/submission.hpp"

namespace kronlab::slurm {

/// What the command line asks for.
struct SubmitArguments {
  std::string file, store;
  std::vector<std::string> overrides;                                ///< key=value, into the sweep
  std::string machine;                                               ///< a file, or the name of one in `machines`
  std::string machines;                                              ///< folder; may be empty
  std::vector<std::pair<std::string, std::string>> machine_options;  ///< key and value, into the machine
  Index pack = 1;                                                    ///< runs of a task
  Index max_parallel = 0;                                            ///< tasks at a time; 0: all
  std::string table_spec;                                            ///< of kronlab-report table; empty: the experiment's runs
  std::string table;                                                 ///< file; empty: STORE/tables/EXPERIMENT.txt
  bool is_dry_run = false, as_json = false;
};

/// The runs of a sweep by what is to be done with them.
struct SortedRuns {
  std::vector<PlannedRun> missing;
  std::vector<std::pair<PlannedRun, std::string>> queued;  ///< with the job
  std::vector<PlannedRun> held;                            ///< a process works on them that is in no job of the queue
  Index num_done = 0;
};
SortedRuns sort_runs(const std::vector<PlannedRun>& runs, const std::map<std::string, std::string>& queued);

/// Submits what is missing of a sweep, or prints what it would submit; standard output belongs to that. Returns the exit code.
/// @throws ConfigError if something is wrong or cannot fit; StorageError if Slurm or the store fails
int submit(const SubmitArguments& arguments);

}  // namespace kronlab::slurm
