#include "framework/storage/garbage.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <optional>

#include "framework/storage/run_database.hpp"
#include "framework/storage/run_index.hpp"

namespace kronlab::storage {
namespace {

namespace fs = std::filesystem;
using Kind = Garbage::Kind;

constexpr double day_s = 86'400.0;
constexpr const char* deleted_suffix = ".deleted";

Index bytes_of(const fs::path& path) {
  std::error_code code;
  if (!fs::is_directory(fs::symlink_status(path, code))) {
    const auto size = fs::file_size(path, code);
    return code ? 0 : static_cast<Index>(size);
  }
  Index total = 0;
  for (fs::recursive_directory_iterator entry(path, fs::directory_options::skip_permission_denied, code), end; !code && entry != end; entry.increment(code)) {
    std::error_code gone;
    const auto size = entry->is_regular_file(gone) ? entry->file_size(gone) : 0;
    if (!gone) total += static_cast<Index>(size);
  }
  return total;
}

/// Days since a file or folder was last read or written.
double unused_days(const fs::path& path) {
  struct ::stat found {};
  if (::lstat(path.c_str(), &found) != 0) return 0;
  return std::difftime(std::time(nullptr), std::max(found.st_atime, found.st_mtime)) / day_s;
}

/// Days since a folder's content or a file was last written.
double unwritten_days(const fs::path& path) {
  struct ::stat found {};
  if (::lstat(path.c_str(), &found) != 0) return 0;
  return std::difftime(std::time(nullptr), found.st_mtime) / day_s;
}

/// What is in a folder, sorted; nothing where it is not there.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) entries.push_back(entry.path());
  std::ranges::sort(entries);
  return entries;
}

std::string name_of(const fs::path& path) { return path.filename().string(); }

/// A day, so that what a process on any host still writes is left alone; what was renamed to be deleted is wanted by nobody.
bool is_leftover(const fs::path& path) {
  const std::string name = name_of(path);
  if (name.starts_with('.') && name.ends_with(deleted_suffix)) return true;
  return name.ends_with(".tmp") && unwritten_days(path) > 1.0;
}

/// Temporary files and folders at any depth.
void add_leftovers(std::vector<Garbage>& found, const fs::path& folder, const std::string& run = {}) {
  for (const auto& path : entries_of(folder)) {
    std::error_code code;
    if (is_leftover(path)) {
      found.push_back({Kind::leftover, path, bytes_of(path), "a process died while it wrote or deleted it", run, {}});
    } else if (fs::is_directory(fs::symlink_status(path, code))) {
      add_leftovers(found, path, run);
    }
  }
}

/// The state of a run, knowing of processes on other hosts what their claims say; none: it is being written.
std::optional<RunState> state_at_rest(const std::string& store_path, const IndexedRun& run, const ClaimOptions& claims) {
  const auto& status = run.status;
  const bool goes_on = status.state == RunState::running || status.state == RunState::created;
  switch (process_state(status.writer)) {
    case ProcessState::gone:
      return goes_on ? RunState::lost : status.state;
    case ProcessState::alive:
      return std::nullopt;
    case ProcessState::elsewhere:
      break;
  }
  if (run.cell.empty() || holder_state(store_path, run.cell, claims) == HolderState::working) return std::nullopt;
  return goes_on ? RunState::lost : status.state;
}

double days_since_record(const IndexedRun& run) { return (seconds_of_utc(utc_now()) - seconds_of_utc(run.status.updated_at)) / day_s; }

void add_of_finished(std::vector<Garbage>& found, const IndexedRun& run, const GarbageOptions& options) {
  const fs::path checkpoints = run.folder / "checkpoints";
  if (options.has_models) {
    if (!entries_of(checkpoints).empty()) found.push_back({Kind::model, checkpoints, bytes_of(checkpoints), "compressed model of a finished run", run.id, {}});
    return;
  }
  for (const auto& stage : entries_of(checkpoints)) {
    if (!name_of(stage).starts_with("stage-")) continue;
    for (const auto& path : entries_of(stage)) {
      const std::string name = name_of(path);
      const bool is_training = name.starts_with("step-") && !name.ends_with(".tmp");
      if (is_training || name == "searches")
        found.push_back({Kind::checkpoint, path, bytes_of(path), is_training ? "training of a finished run" : "searches of a finished run", run.id, {}});
    }
  }
}

void add_of_run(std::vector<Garbage>& found, const std::string& store_path, const IndexedRun& run, const GarbageOptions& options) {
  if (!run.problem.empty()) return;  // who knows what it is
  const auto state = state_at_rest(store_path, run, options.claims);
  if (!state || (*state == RunState::interrupted && !options.has_interrupted_runs)) return;
  if (*state == RunState::done) {
    add_of_finished(found, run, options);
  } else if (const double age_days = days_since_record(run); age_days > options.older_than_days) {
    found.push_back({Kind::run, run.folder, bytes_of(run.folder), fmt::format("{} {:.0f} days ago", to_string(*state), age_days), run.id, {}});
    return;
  }
  if (*state != RunState::interrupted) add_leftovers(found, run.folder, run.id);
}

void add_of_cache(std::vector<Garbage>& found, const fs::path& folder, double older_than_days) {
  for (const auto& path : entries_of(folder)) {
    std::error_code code;
    if (fs::is_directory(fs::symlink_status(path, code))) {
      add_of_cache(found, path, older_than_days);
    } else if (is_leftover(path)) {
      found.push_back({Kind::leftover, path, bytes_of(path), "a process died while it wrote it", {}, {}});
    } else if (const double days = unused_days(path); days > older_than_days && !name_of(path).ends_with(".tmp")) {
      found.push_back({Kind::cache, path, bytes_of(path), fmt::format("not used for {:.0f} days", days), {}, {}});
    }
  }
}

/// A name beside it that no reader looks at.
fs::path set_aside(const fs::path& path) {
  const std::string name = name_of(path);
  if (name.starts_with('.') && name.ends_with(deleted_suffix)) return path;
  const fs::path aside = path.parent_path() / ((name.starts_with('.') ? name : "." + name) + deleted_suffix);
  std::error_code code;
  fs::remove_all(aside, code);  // of one that died while it deleted another of that name
  fs::rename(path, aside, code);
  if (code) throw StorageError(fmt::format("cannot rename '{}' to delete it: {}", path.string(), code.message()));
  return aside;
}

void delete_path(const fs::path& path) {
  std::error_code code;
  const bool is_folder = fs::is_directory(fs::symlink_status(path, code));
  const fs::path doomed = is_folder ? set_aside(path) : path;
  fs::remove_all(doomed, code);
  if (code) throw StorageError(fmt::format("cannot delete '{}': {}", doomed.string(), code.message()));
}

bool is_still_there(const std::vector<Garbage>& found, const Garbage& garbage) {
  return std::ranges::any_of(found, [&](const Garbage& other) { return other.kind == garbage.kind && other.path == garbage.path; });
}

/// What of a run decides whether it is garbage, as it is now; none if it is gone.
std::optional<IndexedRun> run_now(const std::string& store_path, const std::string& id) {
  IndexedRun run;
  run.id = id, run.folder = fs::path(store_path) / "runs" / id;
  try {
    const RunReader reader(run.folder);
    run.cell = reader.description().cell, run.status = reader.status();
  } catch (const StorageError&) {
    return std::nullopt;
  }
  return run;
}

/// While its cell is claimed, nobody begins to work on the run.
bool remove_of_run(const std::string& store_path, const Garbage& garbage, const GarbageOptions& options) {
  const auto before = run_now(store_path, garbage.run);
  if (!before) return false;
  std::vector<Garbage> found;
  add_of_run(found, store_path, *before, options);
  if (!is_still_there(found, garbage)) return false;
  std::optional<Claim> claim;
  if (!before->cell.empty()) {
    claim = Claim::take(store_path, before->cell, options.claims);
    if (!claim) return false;
  }
  const auto now = run_now(store_path, garbage.run);
  const auto is_same = [&](auto member) { return now->status.*member == before->status.*member; };
  if (!now || !is_same(&RunStatus::state) || !is_same(&RunStatus::updated_at) || !is_same(&RunStatus::writer)) return false;
  delete_path(garbage.path);
  return true;
}

}  // namespace

std::string to_string(Kind kind) {
  constexpr std::array names = {"checkpoint", "model", "run", "leftover", "claim", "cache"};
  return names[static_cast<std::size_t>(kind)];
}

std::vector<Garbage> find_garbage(const std::string& store_path, const GarbageOptions& options) {
  const fs::path store = store_path;
  std::vector<Garbage> found;
  for (const auto& run : indexed_runs(store_path)) add_of_run(found, store_path, run, options);
  for (const auto& folder : {store, store / "runs"}) {
    for (const auto& path : entries_of(folder)) {
      if (is_leftover(path)) found.push_back({Kind::leftover, path, bytes_of(path), "a process died while it wrote or deleted it", {}, {}});
    }
  }
  for (const auto& claim : stale_claims(store_path, options.claims))
    found.push_back({Kind::claim, claim.path, bytes_of(claim.path), claim.holder + " is gone", {}, claim.token});
  add_of_cache(found, store / "cache", options.older_than_days);
  return found;
}

bool remove(const std::string& store_path, const Garbage& garbage, const GarbageOptions& options) {
  if (!garbage.run.empty()) return remove_of_run(store_path, garbage, options);
  if (garbage.kind == Kind::claim) return remove(StaleClaim{garbage.path, garbage.token, {}});
  std::error_code code;
  if (!fs::exists(fs::symlink_status(garbage.path, code))) return false;
  if (garbage.kind == Kind::cache && unused_days(garbage.path) <= options.older_than_days) return false;
  delete_path(garbage.path);
  return true;
}

}  // namespace kronlab::storage
