#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/base/types.hpp"
#include "framework/storage/claim.hpp"

namespace kronlab::storage {

struct GarbageOptions {
  double older_than_days = 30.0;       ///< runs by their last record, entries of the cache by their last use
  bool has_interrupted_runs = false;   ///< interrupted runs as old as that too: they cannot go on then
  bool has_models = false;             ///< the compressed models of finished runs too: they cannot be exported then
  ClaimOptions claims{.stale_after_s = 3600.0};  ///< when a process on another host counts as gone
};

/// A file or folder of a store that could be deleted.
struct Garbage {
  enum class Kind {
    checkpoint,  ///< of a finished run's training or searches
    model,       ///< all checkpoints of a finished run
    run,         ///< the folder of a failed, lost or interrupted run
    leftover,    ///< temporary: a process died while it wrote or deleted it
    claim,       ///< of a process that is gone
    cache,       ///< not used for long; made again where it is needed
  };
  Kind kind = Kind::leftover;
  std::filesystem::path path;
  Index bytes = 0;
  std::string reason;
  std::string run;    ///< id of the run that it belongs to; may be empty
  std::string token;  ///< of a claim
};
std::string to_string(Garbage::Kind kind);

/// All of a store, runs by id. Never anything of a run that is being written, nor of an interrupted one unless it is asked
/// for. A cache entry was used when its file was last read or written, as far as the file system keeps that.
/// @throws StorageError if there is no such store
std::vector<Garbage> find_garbage(const std::string& store_path, const GarbageOptions& options);

/// Deletes it: a folder is first renamed, so that no reader sees a half of it; a run's cell is claimed meanwhile.
/// @return false if it has become useful since it was found, or another process works on its run
/// @throws StorageError if it cannot be deleted
bool remove(const std::string& store_path, const Garbage& garbage, const GarbageOptions& options);

}  // namespace kronlab::storage
