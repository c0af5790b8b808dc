#include "framework/comm/watchdog.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <string>
#include <thread>

#include "framework/base/error.hpp"
#include "framework/base/sign_of_life.hpp"
#include "framework/comm/machine.hpp"

namespace kronlab::comm {
namespace {

std::atomic<const char*> waits_in{nullptr};

// What the handler of the watched thread leaves for the watchdog's thread.
std::array<void*, 64> frames;
std::atomic<int> num_frames{0};
sem_t frames_are_there;

int stack_signal() { return SIGRTMIN + 3; }

void on_stack_wanted(int) {
  num_frames = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  ::sem_post(&frames_are_there);
}

/// "kronlab::comm::coordinate(...) + 0x12", or the file and the place in it where the program exports no name.
std::string name_of(void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0) return fmt::format("{}", address);
  const auto place = [&](const void* from) { return reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(from); };
  if (!info.dli_sname) return fmt::format("{}(+{:#x})", info.dli_fname, place(info.dli_fbase));
  int status = 0;
  char* readable = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  const std::string name = status == 0 && readable ? readable : info.dli_sname;
  std::free(readable);
  return fmt::format("{} + {:#x}", name, place(info.dli_saddr));
}

std::string stack_of(pthread_t thread) {
  if (::pthread_kill(thread, stack_signal()) != 0) return "  its stack cannot be had\n";
  std::timespec until{};
  ::clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 5;
  if (::sem_timedwait(&frames_are_there, &until) != 0) return "  its stack did not come within 5 s: it is in a call of the system\n";
  std::string text;
  for (int i = 2; i < num_frames; ++i) text += fmt::format("  #{} {}\n", i - 2, name_of(frames[static_cast<std::size_t>(i)]));  // without the handler
  return text;
}

}  // namespace

Waiting::Waiting(const char* call) {
  SignOfLife::give();
  waits_in = call;
}

Waiting::~Waiting() {
  waits_in = nullptr;
  SignOfLife::give();
}

struct Watchdog::State {
  int rank, size;
  double limit_s;
  pthread_t watched = ::pthread_self();
  std::mutex mutex;
  std::condition_variable wakes;
  bool is_over = false;
  std::thread thread;

  void watch() {
    const auto pause = std::chrono::duration<double>(std::clamp(limit_s / 10, 0.01, 5.0));
    auto seen = SignOfLife::count();
    auto seen_at = std::chrono::steady_clock::now();
    bool has_told = false;
    std::unique_lock lock(mutex);
    while (!wakes.wait_for(lock, pause, [&] { return is_over; })) {
      const auto now = std::chrono::steady_clock::now();
      if (const auto count = SignOfLife::count(); count != seen) {
        seen = count, seen_at = now, has_told = false;
      } else if (const double silent_s = std::chrono::duration<double>(now - seen_at).count(); !has_told && silent_s >= limit_s) {
        has_told = true;
        tell(silent_s);
      }
    }
  }

  void tell(double silent_s) const {
    const char* call = waits_in;
    const std::string what = call ? fmt::format("waits for other ranks in {}", call) : "works without a sign of progress";
    const std::string text = fmt::format("kronlab: watchdog: rank {} of {} on {} {}, for {:.0f} s now (limit KRONLAB_WATCHDOG={:g}); its stack:\n{}", rank, size,
                                         host_name(), what, silent_s, limit_s, stack_of(watched));
    std::fputs(text.c_str(), stderr);  // one call, so that ranks do not mix their lines
    std::fflush(stderr);
  }
};

Watchdog::Watchdog(int rank, int size, double limit_s) : state_(std::make_unique<State>()) {
  state_->rank = rank, state_->size = size, state_->limit_s = limit_s;
  ::sem_init(&frames_are_there, 0, 0);
  num_frames = ::backtrace(frames.data(), 1);  // loads what it needs: a handler must not
  struct sigaction action {};
  action.sa_handler = on_stack_wanted;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(stack_signal(), &action, nullptr);
  state_->thread = std::thread([this] { state_->watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_over = true;
  }
  state_->wakes.notify_all();
  state_->thread.join();
}

double watchdog_limit_s() {
  const char* wanted = std::getenv("KRONLAB_WATCHDOG");
  if (!wanted || !*wanted) return 600.0;
  const std::string text = wanted;
  double seconds = 0.0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (code != std::errc() || end != text.data() + text.size() || !(seconds >= 0.0))
    throw ConfigError(fmt::format("KRONLAB_WATCHDOG is '{}', expected seconds (0: no watchdog)", text));
  return seconds;
}

}  // namespace kronlab::comm
