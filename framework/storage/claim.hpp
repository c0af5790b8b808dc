#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/storage/slurm.hpp"

namespace kronlab::storage {

struct ClaimOptions {
  double heartbeat_s = 10.0;
  double stale_after_s = 120.0;  ///< without a heartbeat
  std::function<bool(const std::string& job)> is_job_gone = slurm_job_is_gone;
};

/// STORE/claims/CELL: this process works on the cell, so that several jobs share a sweep without a server. The file is made
/// atomically and touched by a thread (heartbeat); it is removed at the end.
///
/// A claim is taken over if its process is gone from this host, or, from another host, if its heartbeat is older than
/// `stale_after_s` by the file system's clock and its Slurm job, if it has one, is gone; or at once by a later incarnation of
/// the same Slurm job (SLURM_RESTART_COUNT), which may run while the former one still does on a node that was cut off. Where two take it over at the same
/// moment, the later one finds that it has taken a live claim and puts it back; whoever has lost a claim sees it at the
/// next heartbeat (is_held()).
class Claim {
 public:
  /// Nothing if another process holds it. @throws StorageError if the folder cannot be written
  static std::optional<Claim> take(const std::string& store_path, const std::string& cell, const ClaimOptions& options = {});
  Claim(Claim&&) noexcept;
  Claim& operator=(Claim&&) noexcept;
  ~Claim();

  /// False once another process has taken it over: what this one would write now is not wanted.
  bool is_held() const;

 private:
  struct State;
  explicit Claim(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A file below STORE/claims whose process is gone, as Claim::take sees it, but by this host's clock.
struct StaleClaim {
  std::filesystem::path path;
  std::string token;   ///< what is in it now
  std::string holder;  ///< as holder_of() has it
};
/// By name; none if there are no claims.
std::vector<StaleClaim> stale_claims(const std::string& store_path, const ClaimOptions& options = {});
/// False if another process has taken the cell over meanwhile: then it stays.
bool remove(const StaleClaim& claim);

/// What a cell's claim says of the process that works on it, by this host's clock; none: there is no claim.
enum class HolderState { none, working, gone };
HolderState holder_state(const std::string& store_path, const std::string& cell, const ClaimOptions& options = {});

/// Who holds a cell, for people: "host process 123, Slurm job 456"; empty if nobody does.
std::string holder_of(const std::string& store_path, const std::string& cell);

}  // namespace kronlab::storage
