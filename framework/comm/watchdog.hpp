#pragma once

#include <memory>

namespace kronlab::comm {

/// This rank is in a call that waits for other ranks, by the name of the call; one at a time, on the main thread.
class Waiting {
 public:
  explicit Waiting(const char* call);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
};

/// Tells on standard error where this rank is - whether it waits for others or works, and the stack of the thread that made
/// the watchdog - once it has given no sign of life for a time: a collective that hangs shows the ranks that wait in it and
/// the one that they wait for. It tells once, again only after a sign of life, and ends nothing: a wait may be right.
class Watchdog {
 public:
  /// @param rank, size of the world; limit_s: seconds without a sign of life
  Watchdog(int rank, int size, double limit_s);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// KRONLAB_WATCHDOG in seconds, by default 600; 0: none. @throws ConfigError if it is no number
double watchdog_limit_s();

}  // namespace kronlab::comm
