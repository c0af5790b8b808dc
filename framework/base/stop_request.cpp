#include "framework/base/stop_request.hpp"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>

namespace kronlab {
namespace {

volatile std::sig_atomic_t checkpoint_wanted = 0;
volatile std::sig_atomic_t stop_wanted = 0;

void on_signal(int number) {
  if (number == SIGUSR1) {
    checkpoint_wanted = 1;
    return;
  }
  stop_wanted = 1;
}

/// Slurm tells a process twice within milliseconds that its job is preempted: as one of the job and as one of the step.
constexpr std::int64_t same_request_ms = 1000;
std::atomic<std::int64_t> terminated_at_ms = 0;  ///< 0: not yet
static_assert(std::atomic<std::int64_t>::is_always_lock_free, "a signal handler uses it");

void on_terminate(int number) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t now_ms = std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000 + 1;
  const std::int64_t first_ms = terminated_at_ms;
  if (first_ms == 0) terminated_at_ms = now_ms;
  if (first_ms != 0 && now_ms - first_ms > same_request_ms) {
    std::signal(number, SIG_DFL);
    std::raise(number);  // when this handler returns
  }
  stop_wanted = 1;
}

void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

}  // namespace

void StopRequest::install_handlers() {
  handle(SIGUSR1, on_signal, SA_RESTART);
  handle(SIGUSR2, on_signal, SA_RESTART);
  handle(SIGTERM, on_terminate, SA_RESTART);
  handle(SIGINT, on_signal, SA_RESTART | static_cast<int>(SA_RESETHAND));
}

bool StopRequest::take_checkpoint() {
  const bool wanted = checkpoint_wanted != 0;
  checkpoint_wanted = 0;
  return wanted;
}

bool StopRequest::is_stop_wanted() { return stop_wanted != 0; }
void StopRequest::ask_to_stop() { stop_wanted = 1; }
void StopRequest::forget() {
  stop_wanted = 0;
  checkpoint_wanted = 0;
  terminated_at_ms = 0;
}

}  // namespace kronlab
