#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/storage/run_store.hpp"

namespace kronlab::storage {

/// Times are UTC, "2026-11-24T05:13:00Z".
struct RunStatus {
  RunState state = RunState::created;
  std::string reason;  ///< why it failed or was interrupted
  std::string created_at;
  std::string updated_at;  ///< of the last batch
  /// Work done: the seconds of all finished stages; where none is finished, the time from creation to the last batch.
  double seconds = 0.0;
  std::string writer;  ///< the process that writes it, as `this_process()` has it; empty: none
};
/// A run that says "running" while its process is gone from this host was interrupted if it left any numbers, since what was
/// finished before them is gone on from; else it is lost.
void note_lost_writer(RunStatus& status, bool has_numbers);

struct StageRecord {
  Index stage = 0;
  std::string name;
  std::string started_at;
  std::string finished_at;  ///< empty while it is not
  std::optional<double> seconds;
};

struct ArtifactRecord {
  std::string path;  ///< relative to the run's folder
  std::string kind;
  Index bytes = 0;
  std::string sha256;
};

/// The record of one run, never changed: works while a run writes it, on a read-only mount, and for older schemas.
///
/// A run that was killed in the middle of a write needs its journal rolled back; that is done in a temporary copy.
class RunReader {
 public:
  /// @throws StorageError if the folder is no run, its schema is newer, or its database is damaged
  explicit RunReader(const std::filesystem::path& run_folder);
  RunReader(RunReader&&) noexcept;
  RunReader& operator=(RunReader&&) noexcept;
  RunReader(const RunReader&) = delete;
  RunReader& operator=(const RunReader&) = delete;
  ~RunReader();

  const std::string& id() const;
  const std::filesystem::path& folder() const;
  int schema_version() const;

  // Each reads anew. @throws StorageError
  RunDescription description() const;
  /// After note_lost_writer().
  RunStatus status() const;
  /// Those that were started, by number.
  std::vector<StageRecord> stages() const;
  /// By stage and in the sequence of recording.
  std::vector<LayerRecord> layers() const;
  /// In the sequence of recording; those whose name starts with `prefix`.
  std::vector<Metric> metrics(const std::string& prefix = {}) const;
  /// Those with a number above `after` (0: all), one at a time; a writer waits meanwhile. @return the number of the last one, or `after`
  ///
  /// Numbers grow with the recording, but those of steps that were forgotten to be done again are given anew.
  Index visit_metrics(Index after, const std::function<void(const Metric&)>& visit) const;
  /// The first one first; none in a run of schema 1. One that says "running" is lost if a later one has begun or its
  /// process is gone from this host.
  std::vector<AttemptRecord> attempts() const;
  /// In the sequence of recording; none in a run of schema 1.
  std::vector<EvaluationRecord> evaluations() const;
  std::vector<ArtifactRecord> artifacts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A folder below STORE/runs.
struct RunListing {
  std::string id;
  std::filesystem::path folder;
};

/// The run folders of a store without a look inside, by id, which is by time. @throws StorageError if there is no such store
std::vector<RunListing> list_run_folders(const std::string& store_path);

}  // namespace kronlab::storage
