#pragma once

#include <map>
#include <optional>
#include <string>

#include "experiments/pipeline/experiment_spec.hpp"
#include "experiments/pipeline/run_identity.hpp"
#include "framework/storage/model_files.hpp"
#include "framework/storage/run_index.hpp"

namespace kronlab::experiments {

/// What a store knows of a run before it is done.
struct KnownCell {
  std::string cell;     ///< empty: a file that the run reads is not there
  std::string missing;  ///< why there is no cell
  std::string state = "new";  ///< of the cell's run: "new", "done", "failed", ..., or "held": another job works on it
  std::string reason;   ///< why it failed or was interrupted, or who holds it
  std::string run_id;   ///< empty: none yet
  std::optional<double> mean_seconds;  ///< of finished runs of this kind
  Index num_measured = 0;              ///< how many there are
};

/// Looks runs up in a store, which need not exist. Not collective; hashes of files are computed once.
class KnownCells {
 public:
  /// @throws StorageError if there is a store that cannot be read
  explicit KnownCells(const std::string& store_path);

  KnownCell find(const ExperimentSpec& spec, const storage::ModelFiles& model);

  /// What takes about the same time: the same model, precision, student, evaluations and texts' sizes, and stages of the
  /// same decomposers, searches and lengths of training; seeds, ranks and other options may differ. `resolved` is a run's
  /// configuration with its defaults.
  static std::string kind_of(const config::Value& resolved);

 private:
  struct Seconds {
    double sum = 0.0;
    Index count = 0;
  };
  const std::map<std::string, Seconds>& finished(const std::string& name);

  std::string store_path_;
  std::vector<storage::IndexedRun> runs_;
  std::map<std::string, std::map<std::string, Seconds>> finished_;  ///< by experiment, then kind
  CellHasher hasher_;
};

}  // namespace kronlab::experiments
