#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/base/types.hpp"
#include "slurm/machine.hpp"

namespace kronlab::slurm {

/// A sweep as the user names it.
struct SweepFile {
  std::string path;                    ///< absolute
  std::string store;                   ///< absolute; need not exist
  std::vector<std::string> overrides;  ///< key=value
};

/// A run of a sweep, as `kronlab check --json` knows it.
struct PlannedRun {
  std::string experiment, label;
  std::string cell;                    ///< of its identity
  std::string state;                   ///< "new", "done", "held", "failed", ...
  std::string reason;                  ///< of the state; may be empty
  Index memory_bytes = 0;              ///< of a rank
  double estimated_seconds = 0.0;      ///< by the machine's rates
  std::optional<double> mean_seconds;  ///< of finished runs of its kind

  double expected_seconds() const { return mean_seconds.value_or(estimated_seconds); }
};

/// All runs of a sweep, by the program `kronlab`; memory and time on the ranks and threads of a task of the machine, by the
/// [rates] of its file where it has them.
/// @throws ConfigError if kronlab refuses the sweep, or a file that a run reads is not there; StorageError if it fails otherwise
std::vector<PlannedRun> planned_runs(const std::string& kronlab, const SweepFile& sweep, const Machine& machine, const std::string& machine_file);

/// The same from its answer. @throws StorageError if that is none
std::vector<PlannedRun> parse_planned_runs(const std::string& json);

}  // namespace kronlab::slurm
