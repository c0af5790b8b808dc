#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/metric.hpp"
#include "framework/base/types.hpp"
#include "framework/base/window_loss.hpp"

namespace kronlab::storage {

/// Pairs of a name and its text, in the sequence in which they are shown.
using NamedTexts = std::vector<std::pair<std::string, std::string>>;

/// The schema that this program writes; it reads this one and older ones (`PRAGMA user_version`).
inline constexpr int run_schema_version = 3;

/// In the provenance: what a student that is not the dense model starts from, such as "15 blocks of the model".
inline constexpr const char* student_start = "student/start";

/// What a run is, known before its first step.
struct RunDescription {
  std::string name;         ///< of the experiment; part of the folder's name
  std::string label;        ///< of this run within the experiment, as a table shows it
  std::string question;     ///< what the experiment asks
  std::string paper;        ///< e.g. "arXiv:2401.16367"; may be empty
  std::string config_toml;  ///< the resolved configuration, defaults included
  std::string cell;         ///< hash of all that determines the result
  std::string model_path;
  std::string model_name;
  NamedTexts parameters;  ///< what the sweep varies: {"stage.1.decompose.num_terms", "4"}
  NamedTexts provenance;  ///< from `provenance()`
};

/// interrupted: there are numbers, and finished stages or checkpoints to go on from; lost: the writer is gone without any.
enum class RunState { created, running, interrupted, done, failed, lost };
std::string to_string(RunState state);
/// @throws StorageError for another word
RunState run_state(const std::string& text);

/// One compressed layer; parameters and bytes are those of the layer's weight.
struct LayerRecord {
  Index stage = 0;
  std::string layer;   ///< as the model names it: "h.3.mlp.c_fc"
  std::string method;  ///< "kronecker", "permuted(kronecker)"
  Index rows = 0;
  Index cols = 0;
  Index parameters_before = 0;
  Index parameters_after = 0;
  Index bytes_after = 0;
  double relative_error = 0.0;           ///< |W - W^|_F / |W|_F
  std::optional<double> weighted_error;  ///< under the statistics of its inputs, where there are any
  std::optional<double> search_value;    ///< objective that the permutation search reached
  std::optional<double> search_bound;    ///< no permutation is better than this
  double seconds = 0.0;
  std::string convergence;  ///< how the iteration ended, in words
};

/// The losses of a text's windows: what a paired test of two models needs.
struct EvaluationRecord {
  Index stage = -1;
  Index step = 0;
  std::string dataset;
  std::string protocol;
  std::string data_sha256;  ///< of the text's file
  std::vector<WindowLoss> windows;
};

/// One process's work on a run, from its start to its end.
struct AttemptRecord {
  Index number = 1;
  std::string started_at;
  std::string ended_at;  ///< empty while it works, and where it was killed
  std::string process;   ///< as this_process() has it
  std::string job;       ///< Slurm's; empty without one
  RunState state = RunState::running;
  std::string reason;
};

/// RUN/log/attempt-3.log: the words of an attempt, for people.
std::filesystem::path attempt_log_path(const std::filesystem::path& run_folder, Index attempt);

/// The writer of one run: STORE/runs/RUN_ID/ with run.sqlite, config.toml, log/, checkpoints/ (arrays.h5: ArrayFile).
///
/// Root rank only: one writer per run. RUN_ID = 20261124T051300Z-1f2e3d4c-slug sorts by time and needs no counter.
/// Metrics are collected in memory and written in batches; a reader that locks the file delays a batch and never loses
/// it. What `flush()` has returned from survives a kill -9. Journal mode DELETE, which also works on NFS and Lustre.
/// The writer's name in the database fences off whoever wrote before: once another process has opened the run, every
/// transaction of the former one fails.
class RunStore final : public MetricSink {
 public:
  /// Makes the folders, the database and config.toml. @throws StorageError with the path and the reason
  static RunStore create(const std::string& store_path, const RunDescription& description);
  /// Goes on with a run that stopped; its metrics, stages and layers stay.
  /// @throws StorageError if there is no such run, its schema is newer, the database is damaged, or another process on
  /// this host writes it, unless that is a former incarnation of the same Slurm job
  static RunStore open(const std::string& store_path, const std::string& run_id);
  RunStore(RunStore&&) noexcept;
  RunStore& operator=(RunStore&&) noexcept;
  RunStore(const RunStore&) = delete;
  RunStore& operator=(const RunStore&) = delete;
  /// Writes what is left and gives the run back: one that was not set to done, failed or interrupted then counts as
  /// lost. Says in the log if that fails.
  ~RunStore() override;

  const std::string& id() const;
  const std::filesystem::path& folder() const;

  /// Flushes. `reason` says why a run failed or was interrupted. @throws StorageError
  void set_state(RunState state, const std::string& reason = {});
  /// Flushes; a stage that starts again replaces its own row. Stage -1 is the evaluation of the dense model.
  void stage_started(Index stage, const std::string& name);
  /// Flushes. @throws StorageError if the stage was not started
  void stage_finished(Index stage, double seconds);

  /// Notes that this process, and its Slurm job if it has one, begin to work on the run. Flushes.
  /// @return the attempt's number, from 1
  Index attempt_started();
  /// Removes everything recorded of stage `first` and later ones (stages, layers, metrics), before they are done again.
  void forget_stages_from(Index first);
  /// Removes the metrics and evaluations of a stage whose step is above `step`, before those steps are done again.
  void forget_steps_after(Index stage, Index step);

  /// Keeps the metric; every 256th writes the batch, or a later one, up to the 65,536th, where they come so fast that
  /// batches would follow each other within half a second. Where a reader holds the database for more than a second, the
  /// batch waits for the next one. NaN and infinities stay distinguishable; a standard error that is NaN is none.
  /// @pre name and unit are not empty; the stage is -1 or was started
  /// @throws StorageError when the batch fails for another reason, e.g. a full disk; it is kept then too
  void record(const Metric& metric) override;
  /// Written with the next batch. A layer that is recorded twice in a stage replaces itself.
  void record_layer(const LayerRecord& layer);
  /// Written with the next batch.
  void record_evaluation(const EvaluationRecord& evaluation);
  /// A finished file inside the run's folder: `path` relative to it; bytes and SHA-256 are computed here.
  /// Flushes; a path that is recorded again replaces itself.
  /// @pre the path stays inside the folder. @throws StorageError if it cannot be read
  void record_artifact(const std::string& path, const std::string& kind);
  /// How long the members that flush wait for a reader that holds the database: 60 s unless said otherwise.
  void set_patience(double seconds);
  /// Writes everything kept, durably, in one transaction. @throws StorageError; then nothing of the batch is written
  /// and all of it is kept for the next attempt
  void flush();

 private:
  struct State;
  explicit RunStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kronlab::storage
