// What other ranks, and the user, see of a rank that fails or hangs: real processes under mpirun.
#include <boost/test/unit_test.hpp>
#include <chrono>

#include "tests/support/contains.hpp"
#include "tests/support/program.hpp"

using kronlab::testing::contains;
using kronlab::testing::program_path;
using kronlab::testing::run_program;

namespace {

const std::string three_ranks = "mpirun --oversubscribe --bind-to none -n 3 " + program_path("tests/faulty_program") + " ";

}  // namespace

BOOST_AUTO_TEST_SUITE(rank_faults)

BOOST_AUTO_TEST_CASE(an_exception_on_one_rank_ends_all_with_its_message) {
  for (const std::string fault : {"throw-in-agreement", "throw-alone", "throw-in-waiting"}) {
    const auto started = std::chrono::steady_clock::now();
    const auto output = run_program(three_ranks + fault, "", 30);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    BOOST_TEST(output.exit_code == 2, fault << ": " << output.exit_code << output.err);  // bad input
    BOOST_TEST(contains(output.err, "rank 2: it broke here"), output.err);
    BOOST_TEST(seconds < 10.0, fault << ": " << seconds << " s");
  }
}

BOOST_AUTO_TEST_CASE(a_wait_above_the_limit_shows_the_stack_of_every_rank_and_goes_on) {
  const auto output = run_program(three_ranks + "slow", "KRONLAB_WATCHDOG=0.4", 30);
  BOOST_TEST(output.exit_code == 0);
  for (const char* words : {"rank 0 of 3 on ", "rank 1 of 3 on ", "waits for other ranks in MPI_Barrier, for 0 s now (limit KRONLAB_WATCHDOG=0.4); its stack:",
                            "rank 2 of 3 on ", "works without a sign of progress", "work_that_takes_long + 0x", "kronlab::comm::Communicator::barrier() const + 0x"})
    BOOST_TEST(contains(output.err, words), words << " in " << output.err);
  std::size_t told = 0;
  for (auto at = output.err.find("watchdog:"); at != std::string::npos; at = output.err.find("watchdog:", at + 1)) ++told;
  BOOST_TEST(told == 3u, output.err);  // once each
  const auto silent = run_program(three_ranks + "slow", "KRONLAB_WATCHDOG=0", 30);
  BOOST_TEST(silent.err.empty(), silent.err);
  const auto wrong = run_program(three_ranks + "slow", "KRONLAB_WATCHDOG=soon", 30);
  BOOST_TEST(wrong.exit_code == 2);
  BOOST_TEST(contains(wrong.err, "KRONLAB_WATCHDOG is 'soon', expected seconds"), wrong.err);
}

BOOST_AUTO_TEST_SUITE_END()
