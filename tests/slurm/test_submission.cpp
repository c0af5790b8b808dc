#include <boost/test/unit_test.hpp>
#include <map>

#include "framework/base/error.hpp"
#include "slurm/command.hpp"
#include "slurm/job_script.hpp"
#include "slurm/submission.hpp"
#include "slurm/submit.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::slurm;
using kronlab::testing::contains;

namespace {

PlannedRun planned(const std::string& cell, Index memory_bytes, double estimated_seconds, std::optional<double> mean_seconds = std::nullopt) {
  return {.experiment = "e",
          .label = "run " + cell,
          .cell = cell,
          .state = "new",
          .reason = {},
          .memory_bytes = memory_bytes,
          .estimated_seconds = estimated_seconds,
          .mean_seconds = mean_seconds};
}

Machine machine(Index ranks, Index threads, Index nodes) {
  Machine m;
  m.ranks = ranks, m.threads = threads, m.nodes = nodes, m.signal_s = 120, m.time_margin = 2.0, m.memory_margin = 1.5;
  m.launcher = "auto", m.scratch = "/tmp", m.max_restarts = 4;
  return m;
}

const Partition partition{"main", {{8, 16000, 4}}, 4 * 3600};
constexpr Index mib = Index{1} << 20;

}  // namespace

BOOST_AUTO_TEST_SUITE(submissions)

BOOST_AUTO_TEST_CASE(runs_go_into_packs_in_their_sequence) {
  const std::vector<PlannedRun> runs{planned("a", 1, 1), planned("b", 1, 1), planned("c", 1, 1), planned("d", 1, 1), planned("e", 1, 1)};
  const auto packs = packs_of(runs, 2);
  BOOST_TEST_REQUIRE(packs.size() == 3u);
  BOOST_TEST(packs[1].at(0).cell == "c");
  BOOST_TEST(packs[2].size() == 1u);
  BOOST_TEST(packs_of(runs, 1).size() == 5u);
  BOOST_TEST(packs_of(runs, 9).size() == 1u);
}

BOOST_AUTO_TEST_CASE(only_what_nobody_does_is_missing) {
  std::vector<PlannedRun> runs;
  for (const char* state : {"done", "new", "held", "failed", "interrupted", "lost", "new", "held"}) {
    runs.push_back(planned(std::to_string(runs.size()), 1, 1));
    runs.back().state = state;
  }
  const auto sorted = sort_runs(runs, {{"6", "17_1 (PENDING)"}, {"7", "17_2 (RUNNING)"}, {"0", "17_3 (RUNNING)"}});
  BOOST_TEST(sorted.num_done == 1);
  BOOST_TEST(sorted.queued.size() == 2u);
  BOOST_TEST(sorted.queued.at(0).second == "17_1 (PENDING)");
  BOOST_TEST(sorted.held.size() == 1u);
  std::string cells;
  for (const auto& run : sorted.missing) cells += run.cell;
  BOOST_TEST(cells == "1345");
}

BOOST_AUTO_TEST_CASE(time_and_memory_follow_from_what_is_expected_with_a_margin) {
  const std::vector<PlannedRun> runs{planned("a", 100 * mib, 0.0, 600.0), planned("b", 700 * mib, 900.0)};
  const auto m = machine(4, 2, 2);
  // the pack of both takes 600 s as measured and 900 s as estimated, twice that, and the signal's and the start's 12 minutes
  BOOST_TEST(time_for(packs_of(runs, 2), m, partition) == 2 * 1500 + 720);
  BOOST_TEST(time_for(packs_of(runs, 1), m, partition) == 2 * 900 + 720);
  BOOST_TEST(longest_task_seconds(packs_of(runs, 2)) == 1500.0);
  BOOST_TEST(memory_for(runs, m, partition) == 2 * 1050);
  BOOST_TEST(memory_for({planned("a", mib, 1.0)}, m, partition) == 2 * 500);
  BOOST_TEST(largest_run(runs).label == "run b");
  const std::vector<PlannedRun> large{planned("a", 15000 * mib, 1e9)};
  BOOST_TEST(time_for(packs_of(large, 1), m, partition) == partition.time_limit_s);
  BOOST_TEST(memory_for(large, machine(1, 1, 1), partition) == 16000);
  auto fixed = m;
  fixed.time_s = 3600, fixed.memory_mib = 5000;
  BOOST_TEST(time_for(packs_of(large, 1), fixed, partition) == 3600);
  BOOST_TEST(memory_for(large, fixed, partition) == 5000);
}

BOOST_AUTO_TEST_CASE(node_hours_are_those_of_the_cores_that_are_used) {
  const auto cost = expected_cost({planned("a", 1, 0.0, 3600.0), planned("b", 1, 1800.0)}, machine(4, 1, 1), partition);
  BOOST_TEST(std::abs(cost.core_hours - 6.0) < 1e-12);
  BOOST_TEST(std::abs(cost.node_hours - 0.75) < 1e-12);
  BOOST_TEST(cost.text() == "0.75 node-hours (6 core-hours): 1 of 2 run(s) as finished ones of the same kind took, 1 by the rates of the machine");
}

BOOST_AUTO_TEST_CASE(scripts_ask_for_what_the_machine_says_and_are_shell) {
  auto m = machine(4, 2, 2);
  m.partition = "long", m.account = "a1", m.options = {"--exclusive"}, m.setup = {"module load mpi"};
  Submission s{.sweep = {"/d/it's.toml", "/d/store", {"model.path=a b"}},
               .machine = m,
               .kronlab = "/b/kronlab",
               .report = "/b/kronlab-report",
               .folder = "/d/store/slurm/e-1",
               .table = "/d/store/tables/e.txt",
               .table_arguments = {"table", "--experiment", "e"},
               .tasks = packs_of({planned("a", 1, 1), planned("b", 1, 1), planned("c", 1, 1)}, 2),
               .max_parallel = 1,
               .time_s = 5400,
               .memory_mib = 2000};
  BOOST_TEST(cells_text(s) == "a,b\nc\n");
  BOOST_TEST(labels_text(s) == fmt::format("{}\t{}\n{}\n", s.tasks[0][0].label, s.tasks[0][1].label, s.tasks[1][0].label));
  const auto job = job_script(s);
  for (const char* line : {"#SBATCH --job-name=e-1\n", "#SBATCH --comment=kronlab:/d/store/slurm/e-1\n", "#SBATCH --array=1-2%1\n",
                           "#SBATCH --partition=long\n", "#SBATCH --account=a1\n", "#SBATCH --exclusive\n", "#SBATCH --nodes=2\n", "#SBATCH --ntasks=4\n",
                           "#SBATCH --ntasks-per-node=2\n", "#SBATCH --cpus-per-task=2\n", "#SBATCH --mem=2000M\n", "#SBATCH --time=01:30:00\n",
                           "#SBATCH --signal=B:USR1@120\n", "#SBATCH --requeue\n", "#SBATCH --output=/d/store/slurm/e-1/task-%a.log\n", "\nmodule load mpi\n",
                           "\nprogram=/b/kronlab\n", "\narguments=(run '/d/it'\\''s.toml' --store /d/store --set 'model.path=a b')\n"}) {
    BOOST_TEST(contains(job, line), line);
  }
  BOOST_TEST(!contains(job, "--qos"));
  BOOST_TEST(job.rfind("#SBATCH") < job.find("\nprogram="));  // Slurm stops reading at the first command
  const auto table = table_script(s);
  BOOST_TEST(contains(table, "\ntable=/d/store/tables/e.txt\n"));
  for (const auto& script : {job, table}) {
    const auto read = run_command({"bash", "-n", "-c", script});
    BOOST_TEST(read.exit_code == 0, read.err);
  }
}

BOOST_AUTO_TEST_CASE(what_check_says_is_read) {
  const auto runs = parse_planned_runs(
      R"({"runs": [{"experiment": "e", "label": "seed=1", "cell": "abc", "missing": null, "state": "failed", "reason": "why", "memory_bytes_per_rank": 5,
    "estimate": {"seconds": 80.0}, "mean_seconds": null}]})");
  BOOST_TEST_REQUIRE(runs.size() == 1u);
  BOOST_TEST(runs[0].reason == "why");
  BOOST_TEST(runs[0].expected_seconds() == 80.0);
  BOOST_CHECK_THROW(parse_planned_runs("{}"), StorageError);
  BOOST_CHECK_THROW(parse_planned_runs("words"), StorageError);
  BOOST_TEST(kronlab::testing::message_of([] { parse_planned_runs(R"({"runs": [{"label": "seed=1", "cell": null, "missing": "no 'e.txt'"}]})"); }) ==
             "run 'seed=1': no 'e.txt'");
}

BOOST_AUTO_TEST_SUITE_END()
