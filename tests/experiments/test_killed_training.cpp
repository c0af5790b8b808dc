// A training whose ranks are killed (SIGKILL, at any moment) or told to stop, through the program.
#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/stage_checkpoint.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/random.hpp"
#include "framework/storage/run_index.hpp"
#include "framework/storage/run_reader.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/program.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::run_program;

namespace {

namespace fs = std::filesystem;

constexpr const char* configuration = R"([experiment]
name = "killed"
[model]
path = "model"
[data]
distillation = { path = "c.txt", window = 32, holdout = 2 }
[[evaluate]]
dataset = { path = "e.txt" }
protocol = { window = 32 }
max_windows = 9
[[stage]]
layers = ["layers.*.mlp.*"]
decompose = { kind = "svd", keep = 0.5 }
distill = { steps = 400, batch_tokens = 256, micro_batch = 2, losses = { ce = 1.0, kl = 1.0 }, lr = 1e-3, validate_every = 100, checkpoint = { every_steps = 10, keep = 2 } }
)";

struct Killed {
  kronlab::testing::TemporaryFolder folder;
  Killed() {
    kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_llama_config());
    write_file_atomically(folder / "c.txt", kronlab::testing::nonsense(3000, 1));
    write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(600, 2));
    write_file_atomically(folder / "run.toml", configuration);
  }
  std::string command(int ranks, const std::string& store) const {
    const std::string program = fmt::format("{} run {} --store {}", kronlab::testing::program_path("bin/kronlab"), folder / "run.toml", folder / store);
    return ranks == 1 ? program : fmt::format("mpirun --oversubscribe --bind-to none -n {} {}", ranks, program);
  }
  /// Runs and sends a signal to one of the ranks, `seconds` after it has written a checkpoint.
  kronlab::testing::ProgramOutput run_and_signal(int ranks, const std::string& store, const char* signal, double seconds) const {
    write_file_atomically(folder / "signal.sh", fmt::format(R"(touch {0}/started
until find {0}/{1} -name DONE -newer {0}/started 2>/dev/null | grep -q .; do sleep 0.02; done
sleep {2}
kill -{3} $(pgrep -f '^{4}.*{0}/{1}' | tail -n 1)
)", folder.path().string(), store, seconds, signal, kronlab::testing::program_path("bin/kronlab")));
    return run_program(fmt::format("sh -c 'sh {} & {}'", folder / "signal.sh", command(ranks, store)));
  }
  fs::path run(const std::string& store) const { return storage::indexed_runs(folder / store).at(0).folder; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(killed_trainings)

BOOST_FIXTURE_TEST_CASE(kill_minus_9_at_any_moment_and_another_number_of_ranks_change_no_bit, Killed) {
  const auto undisturbed = run_program(command(1, "undisturbed"));
  BOOST_TEST_REQUIRE(undisturbed.exit_code == 0, undisturbed.err);
  RandomStream random(static_cast<std::uint64_t>(::getpid()));  // any moment will do
  int num_killed = 0;
  for (const int ranks : {2, 1, 3}) {
    const double seconds = 0.3 * random.uniform();
    const auto killed = run_and_signal(ranks, "disturbed", "KILL", seconds);
    BOOST_TEST_MESSAGE(ranks << " ranks killed " << seconds << " s after a checkpoint: exit code " << killed.exit_code);
    num_killed += killed.exit_code != 0;
  }
  BOOST_TEST(num_killed == 3);
  const auto last = run_program(command(2, "disturbed"));
  BOOST_TEST_REQUIRE(last.exit_code == 0, last.err);
  BOOST_TEST(storage::indexed_runs(folder / "disturbed").size() == 1u);
  BOOST_TEST(numbers_of(run("disturbed")) == numbers_of(run("undisturbed")));
  BOOST_TEST(sha256_of_file(values_path(run("disturbed"), 0).string()) == sha256_of_file(values_path(run("undisturbed"), 0).string()));
}

BOOST_FIXTURE_TEST_CASE(sigusr2_checkpoints_stops_with_75_and_sigusr1_goes_on, Killed) {
  const auto stopped = run_and_signal(1, "store", "USR2", 0.0);
  BOOST_TEST(stopped.exit_code == 75, stopped.err);
  BOOST_TEST(stopped.err.find("stopped") != std::string::npos, stopped.err);
  BOOST_TEST((storage::RunReader(run("store")).status().state == storage::RunState::interrupted));
  const auto gone_on = run_and_signal(1, "store", "USR1", 0.0);
  BOOST_TEST(gone_on.exit_code == 0, gone_on.err);
  BOOST_TEST((storage::RunReader(run("store")).status().state == storage::RunState::done));
}

BOOST_AUTO_TEST_SUITE_END()
