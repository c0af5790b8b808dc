#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <csignal>

#include "framework/base/stop_request.hpp"

using kronlab::StopRequest;

namespace {

constexpr int stop_was_wanted = 75;

/// How a process ends that gets these signals, `pause_ms` between them: by its own will, or by a signal.
int status_after(std::initializer_list<int> signals, int pause_ms) {
  const pid_t child = ::fork();
  if (child == 0) {
    StopRequest::install_handlers();
    for (const int number : signals) {
      std::raise(number);
      ::usleep(static_cast<useconds_t>(1000 * pause_ms));
    }
    ::_exit(StopRequest::is_stop_wanted() ? stop_was_wanted : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

bool ends_by_itself(int status, int code) { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
bool is_killed_by(int status, int number) { return WIFSIGNALED(status) && WTERMSIG(status) == number; }

}  // namespace

BOOST_AUTO_TEST_SUITE(stop_requests)

BOOST_AUTO_TEST_CASE(a_signal_asks_to_stop_or_for_a_checkpoint_only) {
  BOOST_TEST(ends_by_itself(status_after({}, 0), 0));
  for (const int number : {SIGUSR2, SIGTERM, SIGINT}) BOOST_TEST(ends_by_itself(status_after({number}, 0), stop_was_wanted));
  BOOST_TEST(ends_by_itself(status_after({SIGUSR1}, 0), 0));
  BOOST_TEST(ends_by_itself(status_after({SIGUSR2, SIGUSR2, SIGTERM}, 0), stop_was_wanted));
}

BOOST_AUTO_TEST_CASE(a_termination_that_is_told_twice_is_one) {
  BOOST_TEST(ends_by_itself(status_after({SIGTERM, SIGTERM}, 20), stop_was_wanted));
  BOOST_TEST(ends_by_itself(status_after({SIGTERM, SIGTERM, SIGTERM}, 200), stop_was_wanted));
}

BOOST_AUTO_TEST_CASE(who_asks_again_ends_it_at_once) {
  BOOST_TEST(is_killed_by(status_after({SIGTERM, SIGTERM}, 1100), SIGTERM));
  BOOST_TEST(is_killed_by(status_after({SIGINT, SIGINT}, 20), SIGINT));
}

BOOST_AUTO_TEST_SUITE_END()
