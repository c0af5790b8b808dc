#include "framework/base/stop_request.hpp"

#include <csignal>

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

void handle(int number, int flags) {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, nullptr);
}

}  // namespace

void StopRequest::install_handlers() {
  handle(SIGUSR1, SA_RESTART);
  handle(SIGUSR2, SA_RESTART);
  handle(SIGTERM, SA_RESTART | static_cast<int>(SA_RESETHAND));
  handle(SIGINT, SA_RESTART | static_cast<int>(SA_RESETHAND));
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
}

}  // namespace kronlab
