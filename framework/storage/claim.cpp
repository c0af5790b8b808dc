#include "framework/storage/claim.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <sstream>
#include <thread>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"
#include "framework/storage/run_database.hpp"

namespace kronlab::storage {
namespace {

namespace fs = std::filesystem;

/// What a claim's file says, a line each.
struct Holder {
  std::string token;    ///< of this claim alone
  std::string process;  ///< as this_process() has it
  std::string job;      ///< Slurm's; may be empty
  Index restart = 0;    ///< of the job, as slurm_restart() has it
  std::string text() const { return fmt::format("{}\n{}\n{}\n{}\n", token, process, job, restart); }
  /// Whether this process is a later incarnation of the same job, which Slurm started in its place.
  bool is_replaced() const { return !job.empty() && job == slurm_job() && restart < slurm_restart(); }
};

std::string new_token() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}", device(), device());
}

Holder self() { return {new_token(), this_process(), slurm_job(), slurm_restart()}; }

/// None if there is no such file, or only a beginning of one.
std::optional<Holder> read_holder(const fs::path& path) {
  std::string text;
  try {
    text = read_text_file(path.string());
  } catch (const Error&) {
    return std::nullopt;
  }
  std::istringstream lines(text);
  Holder holder;
  if (!std::getline(lines, holder.token) || !std::getline(lines, holder.process) || !std::getline(lines, holder.job)) return std::nullopt;
  lines >> holder.restart;  // older claims have none
  return holder;
}

fs::path claim_path(const std::string& store_path, const std::string& cell) { return fs::path(store_path) / "claims" / cell; }

[[noreturn]] void fail(const char* action, const fs::path& path) {
  throw StorageError(fmt::format("cannot {} '{}': {}", action, path.string(), std::strerror(errno)));
}

/// A file with this text under a name of its own.
fs::path write_beside(const fs::path& path, const Holder& holder) {
  const fs::path own = path.string() + "." + holder.token;
  const int file = ::open(own.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) fail("make the claim", own);
  const std::string text = holder.text();
  const bool is_whole = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!is_whole || ::close(file) != 0) {
    ::unlink(own.c_str());
    fail("write the claim", own);
  }
  return own;
}

/// Gives the file its name if no other has it: a link is atomic on network file systems too.
bool publish(const fs::path& own, const fs::path& path) {
  const bool is_ours = ::link(own.c_str(), path.c_str()) == 0;
  if (is_ours || errno == EEXIST) return is_ours;
  // The answer of a server may be lost while the link was made.
  struct ::stat found {};
  if (::stat(own.c_str(), &found) == 0 && found.st_nlink == 2) return true;
  fail("publish the claim", path);
}

std::optional<double> seconds_since_heartbeat(const fs::path& path, const fs::path& own) {
  struct ::stat theirs {}, now {};
  ::utimensat(AT_FDCWD, own.c_str(), nullptr, 0);  // the file system's clock, not this host's
  if (::stat(path.c_str(), &theirs) != 0 || ::stat(own.c_str(), &now) != 0) return std::nullopt;
  return static_cast<double>(now.st_mtim.tv_sec - theirs.st_mtim.tv_sec) + 1e-9 * static_cast<double>(now.st_mtim.tv_nsec - theirs.st_mtim.tv_nsec);
}

/// `age_s` gives the seconds since the last heartbeat, where it is needed and there is one.
bool is_gone(const Holder& holder, const ClaimOptions& options, const std::function<std::optional<double>()>& age_s) {
  if (holder.is_replaced()) return true;
  switch (process_state(holder.process)) {
    case ProcessState::alive:
      return false;
    case ProcessState::gone:
      return true;
    case ProcessState::elsewhere:
      break;
  }
  const auto age = age_s();
  return age && *age > options.stale_after_s && (holder.job.empty() || options.is_job_gone(holder.job));
}

bool is_stale(const fs::path& path, const fs::path& own, const Holder& holder, const ClaimOptions& options) {
  return is_gone(holder, options, [&] { return seconds_since_heartbeat(path, own); });
}

/// The same for one who may not write there: by this host's clock.
bool is_stale(const fs::path& path, const Holder& holder, const ClaimOptions& options) {
  return is_gone(holder, options, [&]() -> std::optional<double> {
    std::error_code code;
    const auto beaten = fs::last_write_time(path, code);
    if (code) return std::nullopt;
    return std::chrono::duration<double>(fs::file_time_type::clock::now() - beaten).count();
  });
}

std::string for_people(const Holder& holder) {
  return fmt::format("{}{}{}", process_for_people(holder.process), holder.job.empty() ? "" : ", Slurm job ", holder.job);
}

/// Moves a stale claim out of the way. False if it was not the one that was looked at.
bool remove_stale(const fs::path& path, const Holder& stale) {
  const fs::path aside = path.string() + ".stale." + new_token();
  if (::rename(path.c_str(), aside.c_str()) != 0) return errno == ENOENT;
  const auto moved = read_holder(aside);
  const bool is_right = moved && moved->token == stale.token;
  if (!is_right) ::link(aside.c_str(), path.c_str());  // a live one, taken by mistake: its holder has it back
  ::unlink(aside.c_str());
  if (is_right) ::unlink((path.string() + "." + stale.token).c_str());
  return is_right;
}

}  // namespace

struct Claim::State {
  fs::path path, own;  ///< own: the other name of the same file
  Holder holder;
  std::atomic<bool> is_held{true};
  std::mutex mutex;
  std::condition_variable wakes;
  bool is_over = false;
  std::thread heart;

  void beat(double every_s) {
    std::unique_lock lock(mutex);
    while (!wakes.wait_for(lock, std::chrono::duration<double>(every_s), [&] { return is_over; })) {
      const auto now = read_holder(path);
      if (!now || now->token != holder.token) {
        is_held = false;
        return;
      }
      ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
    }
  }

  ~State() {
    {
      const std::lock_guard lock(mutex);
      is_over = true;
    }
    wakes.notify_all();
    if (heart.joinable()) heart.join();
    const auto now = read_holder(path);
    if (now && now->token == holder.token) ::unlink(path.c_str());
    ::unlink(own.c_str());
  }
};

Claim::Claim(std::unique_ptr<State> state) : state_(std::move(state)) {}
Claim::Claim(Claim&&) noexcept = default;
Claim& Claim::operator=(Claim&&) noexcept = default;
Claim::~Claim() = default;

bool Claim::is_held() const { return state_->is_held; }

std::optional<Claim> Claim::take(const std::string& store_path, const std::string& cell, const ClaimOptions& options) {
  const fs::path path = claim_path(store_path, cell);
  std::error_code code;
  fs::create_directories(path.parent_path(), code);
  if (code) throw StorageError(fmt::format("cannot make the folder '{}': {}", path.parent_path().string(), code.message()));
  const Holder holder = self();
  const fs::path own = write_beside(path, holder);
  const auto give_up = [&] { ::unlink(own.c_str()); };
  try {
    while (!publish(own, path)) {
      const auto other = read_holder(path);
      if (!other) {
        if (fs::exists(path)) {  // no claim's text: only its age can tell
          const auto age = seconds_since_heartbeat(path, own);
          if (!age || *age <= options.stale_after_s) return give_up(), std::nullopt;
          ::unlink(path.c_str());
        }
        continue;
      }
      if (!is_stale(path, own, *other, options)) return give_up(), std::nullopt;
      remove_stale(path, *other);
    }
  } catch (...) {
    give_up();
    throw;
  }
  auto state = std::make_unique<State>();
  state->path = path, state->own = own, state->holder = holder;
  state->heart = std::thread([raw = state.get(), every_s = options.heartbeat_s] { raw->beat(every_s); });
  return Claim(std::move(state));
}

std::string holder_of(const std::string& store_path, const std::string& cell) {
  const auto holder = read_holder(claim_path(store_path, cell));
  return holder ? for_people(*holder) : "";
}

std::vector<StaleClaim> stale_claims(const std::string& store_path, const ClaimOptions& options) {
  std::vector<StaleClaim> stale;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(fs::path(store_path) / "claims", code)) {
    const auto holder = read_holder(entry.path());
    if (holder && is_stale(entry.path(), *holder, options)) stale.push_back({entry.path(), holder->token, for_people(*holder)});
  }
  std::ranges::sort(stale, {}, &StaleClaim::path);
  return stale;
}

bool remove(const StaleClaim& claim) {
  const auto now = read_holder(claim.path);
  const bool is_taken_over = now && now->token != claim.token;  // a live one is not even moved for a moment
  return !is_taken_over && remove_stale(claim.path, {claim.token, {}, {}, 0});
}

HolderState holder_state(const std::string& store_path, const std::string& cell, const ClaimOptions& options) {
  const auto path = claim_path(store_path, cell);
  const auto holder = read_holder(path);
  if (!holder) return HolderState::none;
  return is_stale(path, *holder, options) ? HolderState::gone : HolderState::working;
}

}  // namespace kronlab::storage
