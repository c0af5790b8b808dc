// Worlds that are too large, and two at a time for one run.
#include <signal.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include "tests/faults/disturbed_job.hpp"

using namespace kronlab;
using kronlab::testing::DisturbedJob;
using kronlab::testing::run_program;

BOOST_AUTO_TEST_SUITE(worlds)

BOOST_FIXTURE_TEST_CASE(one_rank_and_sixty_four_come_to_the_same_bits, DisturbedJob) {
  for (const int ranks : {1, 64}) {  // more than layers, windows and cores
    const auto output = run_program(command(folder / fmt::format("store-{}", ranks), ranks), "", 240);
    BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  }
  BOOST_TEST(results_of(folder / "store-64") == results_of(folder / "store-1"));
}

BOOST_FIXTURE_TEST_CASE(three_ranks_do_two_cells, DisturbedJob) {
  const auto output = run_program(command(folder / "store", 3) + " --set 'sweep.seeds=[0, 1]'");
  BOOST_TEST(output.exit_code == 0, output.err);
  BOOST_TEST(storage::indexed_runs(folder / "store").size() == 2u);
}

// A node that was cut off: the job's former incarnation is asleep while Slurm starts the job again, and wakes up in the middle.
BOOST_FIXTURE_TEST_CASE(a_former_incarnation_that_wakes_up_is_fenced_off, DisturbedJob) {
  const std::string store = folder / "store";
  BOOST_TEST_REQUIRE(run_program(command(folder / "undisturbed")).exit_code == 0);
  write_file_atomically(folder / "ghost.sh", fmt::format(R"sh(
SLURM_JOB_ID=77 SLURM_RESTART_COUNT=0 {0} >{1}/ghost.said 2>&1 & ghost=$!
until ls {2}/runs/*/checkpoints/stage-0/step-000000003/DONE >/dev/null 2>&1; do sleep 0.005; kill -0 $ghost || exit 125; done
ranks=$(pgrep -P $ghost -x kronlab)
while kill -STOP $ranks; ! sqlite3 {2}/runs/*/run.sqlite 'BEGIN IMMEDIATE; ROLLBACK' 2>/dev/null; do  # not in a transaction
  kill -CONT $ranks; sleep 0.01
done
SLURM_JOB_ID=77 SLURM_RESTART_COUNT=1 {0} & later=$!
until grep -qs 'attempt 2 of run' {2}/runs/*/log/attempt-2.log; do sleep 0.01; kill -0 $later || break; done
kill -CONT $ranks
wait $ghost; echo ghost $?
wait $later; echo later $?
)sh", command(store), folder.path().string(), store));
  const auto output = run_program("bash " + (folder / "ghost.sh"));
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.exit_code << output.err);
  BOOST_TEST(output.out.find("ghost 1") != std::string::npos, output.out);
  BOOST_TEST(output.out.find("later 0") != std::string::npos, output.out << output.err);
  const std::string said = read_text_file(folder / "ghost.said");
  const bool is_told = said.find("taken it over: this one writes no more") != std::string::npos || said.find("this process writes no more") != std::string::npos;
  BOOST_TEST(is_told, said);
  BOOST_TEST(results_of(store) == results_of(folder / "undisturbed"));
  const auto attempts = storage::RunReader(run_folder(store)).attempts();
  BOOST_TEST_REQUIRE(attempts.size() == 2u);
  BOOST_TEST((attempts[1].state == storage::RunState::done));
}

BOOST_AUTO_TEST_SUITE_END()
