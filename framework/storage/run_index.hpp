#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/storage/run_reader.hpp"

namespace kronlab::storage {

/// What a list of runs shows of one.
struct IndexedRun {
  std::string id;
  std::filesystem::path folder;
  std::string problem;  ///< why it cannot be read; then the rest is empty
  std::string name, label, question, model_name, cell;
  std::string methods;  ///< of its layers: "permuted(kronecker), svd"
  NamedTexts parameters;
  RunStatus status;
  std::optional<Metric> headline;  ///< the last perplexity of the compressed model, else of the dense one
};

/// STORE/index.sqlite: what lists need of all runs, so that only those that changed since are opened. It is made from the
/// run folders and holds nothing of its own; a damaged one, or one of another version, is made anew.
///
/// A run is taken to be unchanged while time and size of its run.sqlite are; one that changed in the two seconds before it
/// was read is read again, as file systems round times.

/// All runs of a store, by id: from the index where it knows them, else from their folders. Writes nothing; works without
/// an index. A run that says "running" while its process is gone from this host is interrupted or lost.
/// @throws StorageError if there is no such store
std::vector<IndexedRun> indexed_runs(const std::string& store_path);

/// The same for one who asks again and again, as a sweep does before each of its runs: what was read once is read again
/// only if it changed.
class RunCache {
 public:
  explicit RunCache(std::string store_path);
  RunCache(const RunCache&) = delete;
  RunCache& operator=(const RunCache&) = delete;
  ~RunCache();
  /// As indexed_runs.
  std::vector<IndexedRun> runs();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct IndexUpdate {
  Index unchanged = 0;
  Index read = 0;  ///< new or changed
  Index gone = 0;
};
/// Brings the index up to date, or makes it anew. `on_read` is called with the number of runs looked at.
/// @throws StorageError if it cannot be written, or another program holds it for ten seconds
IndexUpdate update_index(const std::string& store_path, bool from_nothing, const std::function<void(Index done, Index all)>& on_read = {});

/// The runs for which an SQL expression holds. Columns: id, name, label, question, model, cell, methods, state, reason,
/// created, updated, seconds, perplexity, dataset, protocol, and parameter(NAME) for what a sweep varies.
/// @throws ConfigError with SQLite's words if it is none
std::vector<IndexedRun> runs_where(std::vector<IndexedRun> runs, const std::string& expression);

}  // namespace kronlab::storage
