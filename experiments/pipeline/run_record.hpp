#pragma once

#include <optional>
#include <string>
#include <vector>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "experiments/pipeline/layer_outcome.hpp"
#include "experiments/pipeline/measurement.hpp"
#include "experiments/pipeline/run_experiment.hpp"
#include "framework/storage/claim.hpp"
#include "framework/storage/run_store.hpp"

namespace kronlab::experiments {

/// The record of one run: its RunStore, and a checkpoint for each finished stage (stage_checkpoint.hpp).
///
/// Root writes; every member that touches the disk is collective and throws CollectiveError on all ranks.
class RunRecord {
 public:
  /// Finds the run of this cell in the store, to go on with it, or makes a new one, and claims the cell.
  /// @throws CollectiveError if the store cannot be written, or the run failed `max_failures` times
  RunRecord(const comm::Communicator& communicator, const RunOptions& options, const config::RunSpec& run,
            const ExperimentSpec& spec, const std::string& cell, const std::string& model_hash);
  ~RunRecord();
  RunRecord(const RunRecord&) = delete;
  RunRecord& operator=(const RunRecord&) = delete;

  const std::string& id() const { return id_; }
  bool is_done() const { return is_done_; }
  /// Another job that works on the cell, for people; then this record has no run. Empty: none.
  const std::string& held_by() const { return held_by_; }
  /// Stages whose checkpoint is complete.
  std::size_t num_finished_stages() const { return num_finished_; }
  /// STORE/runs/RUN_ID
  const std::string& folder() const { return folder_; }

  /// Nothing was recorded yet, not even the dense model.
  bool is_fresh() const { return is_fresh_; }

  void dense_evaluated(const Measured& measured);
  void stage_started(std::size_t stage, const std::string& name);
  /// Writes what the stage's decompositions left, then the numbers.
  void stage_compressed(std::size_t stage, const PlannedStage& planned, const std::vector<LayerOutcome>& outcomes,
                        const Measured& measured, const Factors& factors);
  /// Numbers of a training.
  void record(const std::vector<Metric>& metrics);
  void flush();
  /// Not collective, on root. @throws StorageError if another process has taken the run over, or it was deleted
  void expect_current();
  void forget_steps_after(std::size_t stage, Index step);
  /// Writes the numbers and marks the stage as done.
  void stage_finished(std::size_t stage, const Measured& measured, double seconds);
  /// Writes arrays.h5 of the whole run and marks it done.
  void finish();
  /// Not collective and never throws: root notes why the run ended.
  void failed(const std::string& reason) noexcept;
  /// The same for a run that stopped after a checkpoint.
  void interrupted(const std::string& reason) noexcept;

 private:
  /// Looks for runs of the cell: whether one is done. `unfinished` is the last one that is not.
  bool find_done(const RunOptions& options, const std::string& cell, std::string& unfinished);
  void open_or_create(const RunOptions& options, const storage::RunDescription& description);
  void ended(storage::RunState state, const std::string& reason) noexcept;
  void expect_claimed() const;
  void on_root(const std::function<void(storage::RunStore&)>& work);

  const comm::Communicator& communicator_;
  std::string id_, folder_, held_by_;
  bool is_done_ = false, is_fresh_ = true;
  std::size_t num_finished_ = 0;
  std::optional<storage::Claim> claim_;     ///< on root, unless the run is done
  std::optional<storage::RunStore> store_;  ///< on root, unless the run is done
};

}  // namespace kronlab::experiments
