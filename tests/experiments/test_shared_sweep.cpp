// Several processes on one sweep, killed at random and started again: every cell is done once and none is lost.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/base/hash.hpp"
#include "framework/storage/claim.hpp"
#include "framework/storage/run_index.hpp"
#include "tests/support/program.hpp"
#include "tests/support/test_data.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using kronlab::testing::run_program;

namespace {

const std::string kronlab_program = kronlab::testing::program_path("bin/kronlab");

struct Sweep {
  kronlab::testing::TemporaryFolder folder;
  int num_cells;
  std::string store = folder / "store";

  explicit Sweep(int cells) : num_cells(cells) {
    kronlab::testing::write_tiny_model(folder / "model", kronlab::testing::tiny_llama_config());
    write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(400, 2));
    std::string seeds;
    for (int seed = 0; seed < num_cells; ++seed) seeds += fmt::format("{}{}", seed > 0 ? ", " : "", seed);
    write_file_atomically(folder / "sweep.toml",
                          "[experiment]\nname = \"shared\"\n[model]\npath = \"model\"\n[[evaluate]]\ndataset = { path = \"e.txt\" }\n"
                          "protocol = { window = 32 }\nmax_windows = 4\n[[stage]]\nlayers = [\"layers.1.mlp.*\"]\n"
                          "decompose = { kind = \"svd\", keep = 0.5 }\n[sweep]\nseeds = [" + seeds + "]\n");
  }
  std::string command() const { return fmt::format("{} run {} --store {}", kronlab_program, folder / "sweep.toml", store); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(shared_sweeps)

BOOST_AUTO_TEST_CASE(four_processes_that_are_killed_do_every_cell_once) {
  const char* wanted = std::getenv("KRONLAB_CELLS");
  const Sweep sweep(wanted ? std::atoi(wanted) : 16);
  write_file_atomically(sweep.folder / "work.sh", fmt::format(R"(n=0
until {0} >>{1}/log.$1 2>&1; do n=$((n + 1)); [ $n -lt 1000 ] || exit 1; done
)", sweep.command(), sweep.folder.path().string()));
  // Each kill hits one of the four; there are about as many as cells.
  write_file_atomically(sweep.folder / "share.sh", fmt::format(R"(cd {0}
for w in 1 2 3 4; do sh work.sh $w & done
killed=0
for k in $(seq {1}); do
  sleep 0.0$(($(od -An -N1 -tu1 /dev/urandom) % 90 + 10))
  victim=$(pgrep -f '^{2}.*{0}' | shuf -n 1)
  [ -n "$victim" ] && kill -9 $victim 2>/dev/null && killed=$((killed + 1))
done
wait
echo $killed
)", sweep.folder.path().string(), sweep.num_cells, kronlab_program));
  const auto output = run_program("bash " + (sweep.folder / "share.sh"));
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  BOOST_TEST_MESSAGE(output.out << " processes were killed");
  BOOST_TEST(std::atoi(output.out.c_str()) > sweep.num_cells / 4);
  std::set<std::string> cells;
  int num_done = 0;
  for (const auto& run : storage::indexed_runs(sweep.store)) {
    BOOST_TEST(run.problem.empty(), run.problem);
    BOOST_TEST((run.status.state == storage::RunState::done), run.id);
    BOOST_TEST(run.headline.has_value());
    cells.insert(run.cell);
    ++num_done;
  }
  BOOST_TEST(num_done == sweep.num_cells);
  BOOST_TEST(cells.size() == static_cast<std::size_t>(sweep.num_cells));
}

BOOST_AUTO_TEST_CASE(a_cell_that_another_process_holds_is_left_to_it) {
  const Sweep sweep(2);
  BOOST_TEST_REQUIRE(run_program(sweep.command()).exit_code == 0);
  const auto runs = storage::indexed_runs(sweep.store);
  std::filesystem::remove_all(runs[1].folder);
  const auto claim = storage::Claim::take(sweep.store, runs[1].cell);
  BOOST_TEST_REQUIRE(claim.has_value());
  const auto left = run_program(sweep.command());
  BOOST_TEST(left.exit_code == 0, left.err);
  BOOST_TEST(left.out.find("held: seed=1: left to ") != std::string::npos, left.out);
  BOOST_TEST(storage::indexed_runs(sweep.store).size() == 1u);
  const auto json = run_program(sweep.command() + " --json");
  BOOST_TEST(json.out.find("\"state\": \"held\"") != std::string::npos, json.out);
}

BOOST_AUTO_TEST_CASE(jobs_of_one_command_share_a_sweep) {
  const Sweep sweep(6);
  const auto output = run_program(sweep.command() + " --jobs 3");
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  BOOST_TEST(output.out.find("6 of 6 run(s) done (0 before)") != std::string::npos, output.out);
  for (const char* words : {"[1] ", "[2] ", "[3] ", "3 jobs on 6 run(s)"}) BOOST_TEST(output.err.find(words) != std::string::npos, output.err);
  for (const char* label : {"seed=0", "seed=5"}) BOOST_TEST(output.out.find(label) != std::string::npos, output.out);
  const auto runs = storage::indexed_runs(sweep.store);
  BOOST_TEST(runs.size() == 6u);
  const auto again = run_program(sweep.command() + " --jobs 2 --json");
  BOOST_TEST(again.exit_code == 0);
  const auto answer = nlohmann::json::parse(again.out);
  BOOST_TEST(answer.at("runs").size() == 6u);
  for (const auto& run : answer.at("runs")) BOOST_TEST(run.at("done_before") == true);

  const auto ranks = run_program("mpirun --oversubscribe --bind-to none -n 2 " + sweep.command() + " --jobs 2");
  BOOST_TEST(ranks.exit_code == 2);
  BOOST_TEST(ranks.err.find("--jobs 2: this is one of 2 ranks") != std::string::npos, ranks.err);
  const auto launched = run_program("mpirun -n 1 " + sweep.command() + " --jobs 2");
  BOOST_TEST(launched.err.find("expected to be started without mpirun or srun") != std::string::npos, launched.err);
  const auto many = run_program(sweep.command() + " --jobs 2", "OMP_NUM_THREADS=1000");
  BOOST_TEST(many.exit_code == 0, many.err);  // KRONLAB_OVERSUBSCRIBE
}

BOOST_AUTO_TEST_CASE(of_jobs_that_are_killed_the_others_do_the_work) {
  const Sweep sweep(8);
  write_file_atomically(sweep.folder / "kill.sh", fmt::format(R"(cd {0}
until ls {1}/runs >/dev/null 2>&1; do sleep 0.01; done
kill -9 $(pgrep -f '^{2}.*{0}.*--json' | head -n 1)
)", sweep.folder.path().string(), sweep.store, kronlab_program));
  const auto output = run_program(fmt::format("sh -c 'sh {} & {} --jobs 2'", sweep.folder / "kill.sh", sweep.command()));
  BOOST_TEST(output.exit_code == 0, output.exit_code << output.err);
  BOOST_TEST(output.err.find("was ended by signal 9 without an answer") != std::string::npos, output.err);
  BOOST_TEST(output.out.find("8 of 8 run(s) done") != std::string::npos, output.out);
  BOOST_TEST(storage::indexed_runs(sweep.store).size() == 8u);
}

BOOST_AUTO_TEST_CASE(jobs_that_are_told_to_stop_are_gone_on_with) {
  const Sweep sweep(40);
  write_file_atomically(sweep.folder / "stop.sh", fmt::format(R"(until grep -ls dense {1}/runs/*/log/attempt-1.log >/dev/null 2>&1; do sleep 0.01; done
kill -TERM $(pgrep -f '^{2}.*{0}.*--jobs 2$')
)", sweep.folder.path().string(), sweep.store, kronlab_program));
  const auto output = run_program(fmt::format("sh -c 'sh {} & exec {} --jobs 2'", sweep.folder / "stop.sh", sweep.command()));
  BOOST_TEST(output.exit_code == 75, output.exit_code << output.err);
  BOOST_TEST(run_program(sweep.command() + " --jobs 2 --quiet").out.find("40 of 40 run(s) done") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_run_that_failed_often_is_not_tried_again) {
  const Sweep sweep(1);
  const std::string broken = (sweep.folder.path() / "model" / "model.safetensors").string();
  std::string damaged = read_text_file(broken);
  for (std::size_t i = damaged.size() - 4096; i < damaged.size(); ++i) damaged[i] = '\xFF';  // not a number
  write_file_atomically(broken, damaged);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto failed = run_program(sweep.command() + " --max-failures 2");
    BOOST_TEST(failed.exit_code != 0);
    BOOST_TEST(failed.out.find("not tried again") == std::string::npos, failed.out);
  }
  const auto given_up = run_program(sweep.command() + " --max-failures 2");
  BOOST_TEST(given_up.exit_code != 0);
  BOOST_TEST(given_up.out.find("failed 2 times and is not tried again (--max-failures 2); the last time: ") != std::string::npos, given_up.out);
  const auto attempts = storage::RunReader(storage::indexed_runs(sweep.store).at(0).folder).attempts();
  BOOST_TEST(attempts.size() == 2u);
  for (const auto& attempt : attempts) {
    BOOST_TEST((attempt.state == storage::RunState::failed));
    BOOST_TEST(!attempt.reason.empty());
    BOOST_TEST(!attempt.ended_at.empty());
  }
}

BOOST_AUTO_TEST_SUITE_END()
