#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/base/types.hpp"
#include "framework/config/value.hpp"

namespace kronlab::slurm {

/// What is known of a partition's nodes. What a machine file leaves out is asked of sinfo.
struct NodeLimits {
  std::optional<Index> cores;
  std::optional<Index> memory_mib;
  std::optional<Index> time_limit_s;  ///< of a job

  bool is_complete() const { return cores && memory_mib && time_limit_s; }
};

/// What a job asks Slurm for and how it starts its ranks: a machine file of slurm/machines, with the command line's options
/// put into it.
struct Machine {
  std::string partition, account, qos, constraint;  ///< empty: what Slurm takes then
  std::vector<std::string> options;                 ///< further ones of sbatch, such as "--exclusive"

  Index ranks = 1;                                ///< MPI ranks of a task of the array
  Index threads = 1;                              ///< of a rank
  Index nodes = 1;                                ///< of a task
  std::optional<Index> time_s;                    ///< of a task; none: from what its runs are expected to take
  std::optional<Index> memory_mib;                ///< of a node; none: from what a rank is expected to need
  double time_margin = 1.0, memory_margin = 1.0;  ///< what is expected is multiplied by these

  std::string launcher;            ///< "srun", "mpirun", or "auto": srun where it has pmix
  std::string scratch;             ///< folder for temporary files on each node; the shell expands variables
  std::vector<std::string> setup;  ///< lines of shell before the ranks start
  Index signal_s = 0;              ///< before the time limit, the runs are asked to checkpoint and stop
  Index max_restarts = 0;          ///< of a task

  NodeLimits node;
  bool has_rates = false;  ///< the file has [rates] too, from `kronlab profile`, which `kronlab check` estimates by

  Index ranks_per_node() const { return (ranks + nodes - 1) / nodes; }
  Index cores_per_node() const { return ranks_per_node() * threads; }

  /// A machine file as config::read_toml_file gives it. @throws ConfigError with file, line and column
  static Machine read(const config::Value& file);
};

}  // namespace kronlab::slurm
