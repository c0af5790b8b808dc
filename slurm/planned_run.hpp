#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/base/types.hpp"

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
  double core_seconds = 0.0;           ///< from its multiply-adds
  std::optional<double> mean_seconds;  ///< of finished runs of its kind

  /// Seconds that it may take on this many cores.
  double expected_seconds(Index num_cores) const { return mean_seconds.value_or(core_seconds / static_cast<double>(num_cores)); }
};

/// All runs of a sweep on `ranks` ranks, by the program `kronlab`.
/// @throws ConfigError if kronlab refuses the sweep, or a file that a run reads is not there; StorageError if it fails otherwise
std::vector<PlannedRun> planned_runs(const std::string& kronlab, const SweepFile& sweep, Index ranks);

/// The same from its answer. @throws StorageError if that is none
std::vector<PlannedRun> parse_planned_runs(const std::string& json);

}  // namespace kronlab::slurm
