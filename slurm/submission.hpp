#pragma once

#include <string>
#include <vector>

#include "slurm/machine.hpp"
#include "slurm/partition.hpp"
#include "slurm/planned_run.hpp"

namespace kronlab::slurm {

/// What is submitted at once: an array job, and a job behind it that makes the table.
struct Submission {
  SweepFile sweep;
  Machine machine;
  std::string kronlab, report;                 ///< the programs
  std::string folder;                          ///< STORE/slurm/NAME: scripts, cells, logs, the environment; made by submit()
  std::string table;                           ///< file that the table goes to
  std::vector<std::string> table_arguments;    ///< of kronlab-report
  std::vector<std::vector<PlannedRun>> tasks;  ///< of the array, with the runs that each does
  Index max_parallel = 0;                      ///< tasks at a time; 0: all
  Index time_s = 0;                            ///< of a task
  Index memory_mib = 0;                        ///< of a node

  std::string job_name() const;  ///< the last part of `folder`
};

/// Runs that follow each other in packs of `size`.
std::vector<std::vector<PlannedRun>> packs_of(const std::vector<PlannedRun>& runs, Index size);

/// Seconds that the longest of these tasks is expected to take.
double longest_task_seconds(const std::vector<std::vector<PlannedRun>>& tasks);

/// What a task asks for: as the machine says, else the longest task, in whole minutes, and the largest run, with the
/// machine's margins, as far as the partition goes.
Index time_for(const std::vector<std::vector<PlannedRun>>& tasks, const Machine& machine, const Partition& partition);
Index memory_for(const std::vector<PlannedRun>& runs, const Machine& machine, const Partition& partition);

/// MiB of a rank, and whose they are.
struct LargestRun {
  Index memory_mib = 0;
  std::string label;
};
LargestRun largest_run(const std::vector<PlannedRun>& runs);

/// What a submission is expected to cost.
struct Cost {
  double core_hours = 0.0;
  double node_hours = 0.0;  ///< each node as the share of its cores that is used
  Index num_measured = 0;   ///< runs timed by finished ones of their kind
  Index num_runs = 0;

  std::string text() const;
};
Cost expected_cost(const std::vector<PlannedRun>& runs, const Machine& machine, const Partition& partition);

}  // namespace kronlab::slurm
