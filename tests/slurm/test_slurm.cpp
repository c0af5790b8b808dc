// Sweeps through a real Slurm on this machine: submitted, signalled, cancelled, queued again.
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "framework/base/progress.hpp"
#include "framework/storage/run_index.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/program.hpp"

using namespace kronlab;
using kronlab::experiments::numbers_of;
using kronlab::testing::ProgramOutput;
using kronlab::testing::contains;
using kronlab::testing::run_program;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

std::string source(const std::string& relative) {
  const char* root = std::getenv("KRONLAB_SOURCE_DIR");
  return std::string(root ? root : ".") + "/" + relative;
}

/// Two nodes of two cores, for as long as this program runs. Needs Slurm's programs, root, and the right to make namespaces.
class Lab {
 public:
  static const Lab& get() {
    static const Lab lab;
    return lab;
  }
  bool is_there() const { return is_there_; }
  const std::string& problem() const { return problem_; }  ///< empty: it is up
  std::string variables() const { return "SLURM_CONF=" + folder_ / "lab/slurm.conf"; }
  ProgramOutput shell(const std::string& command) const { return run_program("bash -c \"" + command + "\"", variables()); }

  ProgramOutput script(const std::string& command, const std::string& arguments = "", const std::string& more = "") const {
    return run_program(fmt::format("bash {} {} {} {}", source("tests/slurm/lab.sh"), command, folder_ / "lab", arguments), more);
  }

  ~Lab() {
    if (is_there_) script("stop");
  }

 private:
  Lab() {
    const auto needed = run_program(
        "bash -c 'for p in slurmctld slurmd munged sbatch; do command -v $p || exit 1; done; [ $(id -u) = 0 ] && "
        "unshare --mount --uts --pid --fork --mount-proc true'");
    if (needed.exit_code != 0) return;
    is_there_ = true;
    const auto started = script("start", fmt::format("2 {}", ::getpid()), fmt::format("LAB_PORT={}", 20000 + ::getpid() % 10000));
    if (started.exit_code != 0) problem_ = started.err;
  }

  kronlab::testing::TemporaryFolder folder_;
  bool is_there_ = false;
  std::string problem_;
};

#define NEEDS_SLURM()                                                                                                                                         \
  if (!Lab::get().is_there()) return kronlab::testing::report_skipped("root, namespaces and Slurm: apt-get install slurm-wlm slurm-wlm-basic-plugins munge"); \
  BOOST_TEST_REQUIRE(Lab::get().problem().empty(), Lab::get().problem())

/// Tries every tenth of a second.
template <class Condition>
bool comes_true(const Condition& condition, double limit_s = 60.0) {
  const double until_s = now_s() + limit_s;
  while (!condition()) {
    if (now_s() > until_s) return false;
    ::usleep(100'000);
  }
  return true;
}

/// A tiny model, texts, a sweep over four seeds and a training of some seconds that checkpoints often.
struct Files {
  kronlab::testing::TemporaryFolder folder;
  std::string store = folder / "a store", sweep = folder / "sweep.toml", training = folder / "training.toml";

  Files() {
    kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_llama_config());
    write_file_atomically(folder / "c.txt", kronlab::testing::nonsense(3000, 1));
    write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(600, 2));
    const std::string head =
        "[model]\npath = \"model\"\n[[evaluate]]\ndataset = { path = \"e.txt\" }\nprotocol = { window = 32 }\nmax_windows = 9\n[[stage]]\n"
        "layers = [\"layers.*.mlp.*\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n";
    write_file_atomically(sweep, "[experiment]\nname = \"four seeds\"\n" + head + "[sweep]\nseeds = [0, 1, 2, 3]\n");
    write_file_atomically(
        training,
        "[experiment]\nname = \"training\"\n" + head +
            "distill = { steps = 400, batch_tokens = 256, micro_batch = 2, losses = { ce = 1.0 }, lr = 1e-3, checkpoint = { every_steps = 10, keep = 2 } }\n"
            "[data]\ndistillation = { path = \"c.txt\", window = 32 }\n");
    write_machine("");
  }

  void write_machine(const std::string& more) const {
    write_file_atomically(folder / "lab.toml", fmt::format("include = \"{}\"\nsignal_s = 60\n{}", source("slurm/machines/base.toml"), more));
  }

  ProgramOutput submit(const std::string& file, const std::string& options = "") const {
    return run_program(
        fmt::format("{} {} --store '{}' {}", source("slurm/submit"), file, store, options),
        Lab::get().variables() + " KRONLAB_MACHINE=" + folder / "lab.toml" + " KRONLAB_SUBMIT=" + kronlab::testing::program_path("bin/kronlab-submit"));
  }
  /// Of the answer in JSON; the job that was submitted.
  json submitted(const std::string& file, const std::string& options = "") const {
    const auto output = submit(file, options + " --json");
    BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
    return json::parse(output.out);
  }
  /// The entries of `kronlab-report status`.
  json status() const {
    const auto output = run_program(fmt::format("{} status --json --store '{}'", kronlab::testing::program_path("bin/kronlab-report"), store), Lab::get().variables());
    BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
    return json::parse(output.out).at("cells");
  }
  std::vector<storage::IndexedRun> runs() const {
    return fs::exists(fs::path(store) / "runs") ? storage::indexed_runs(store) : std::vector<storage::IndexedRun>();
  }
  bool has_checkpoint() const {
    for (const auto& run : runs()) {
      std::error_code code;
      for (const auto& entry : fs::recursive_directory_iterator(run.folder, code)) {
        if (entry.path().filename() == "DONE") return true;
      }
    }
    return false;
  }
  /// What the first task has said; nothing before it starts.
  std::string log(const json& answer) const {
    const std::string path = answer.at("folder").get<std::string>() + "/task-1.log";
    return fs::exists(path) ? read_text_file(path) : "";
  }
  /// What the training comes to that nobody disturbs: the same in every case.
  const std::string& undisturbed() const {
    static const std::string numbers = [&] {
      const std::string elsewhere = folder / "undisturbed";
      const auto output = run_program(fmt::format("{} run {} --store {} --quiet", kronlab::testing::program_path("bin/kronlab"), training, elsewhere));
      BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
      return numbers_of(storage::indexed_runs(elsewhere).at(0).folder);
    }();
    return numbers;
  }
};

std::string squeue(const std::string& options) { return Lab::get().shell("squeue --noheader " + options).out; }
bool is_queue_empty() {
  const auto queue = Lab::get().shell("squeue --noheader");
  return queue.exit_code == 0 && queue.out.empty();  // a busy slurmctld gives no answer, which is not an empty one
}
std::string state_of(const std::string& job) { return squeue("--format=%T --jobs=" + job); }
/// A job that was queued again need not wait Slurm's two minutes, but until its nodes take its new credential: they refuse one
/// of the second in which they ended the job before, and Slurm drops a job whose nodes refuse it.
bool start_again(const std::string& job) { return Lab::get().shell("scontrol update JobId=" + job + " StartTime=now+3").exit_code == 0; }

}  // namespace

BOOST_AUTO_TEST_SUITE(slurm_jobs)

BOOST_FIXTURE_TEST_CASE(a_dry_run_prints_scripts_and_commands_and_submits_nothing, Files) {
  NEEDS_SLURM();
  const auto output = submit(sweep, "--dry-run --pack 3 --max-parallel 1 --ranks 2 --nodes 2 --partition short --time 5");
  BOOST_TEST_REQUIRE(output.exit_code == 2, output.err);  // that partition has one node
  BOOST_TEST(contains(output.err, "--nodes is 2, but partition 'short' has 1 of enough cores: use fewer"), output.err);
  const auto text = submit(sweep, "--dry-run --pack 3 --max-parallel 1 --ranks 2 --partition short --time 5").out;
  for (const char* part :
       {"4 run(s): 0 done, 0 queued, 0 held, 4 missing\n", "  2 task(s) of up to 3 run(s), each on 1 node(s) with 2 rank(s) of 1 thread(s), ",
        "  expected: ", " node-hours (", "0 of 4 run(s) as finished ones of the same kind took, 4 by the rates of the machine\n",
        "#!/bin/bash\n#SBATCH --job-name=four-seeds-1\n", "#SBATCH --array=1-2%1\n", "#SBATCH --partition=short\n", "#SBATCH --time=00:05:00\n",
        "#SBATCH --signal=B:USR1@60\n", "scontrol requeue"}) {
    BOOST_TEST(contains(text, part), part);
  }
  BOOST_TEST(
      contains(text, fmt::format(
                         "\nsbatch --parsable '{0}/slurm/four-seeds-1/job.sh'\nsbatch --parsable --dependency=afterany:JOB '{0}/slurm/four-seeds-1/table.sh'\n",
                         store)),
      text);
  const auto hours = [&] { return submitted(sweep, "--dry-run").at("node_hours").get<double>(); };
  const double assumed = hours();
  write_machine("[rates]\ngemm_fp32_gflops = 0.001\ngemm_fp32_narrow_gflops = 0.001\n");  // slower than any machine
  BOOST_TEST(hours() > 10 * assumed);
  BOOST_TEST(!fs::exists(store));
  BOOST_TEST(is_queue_empty());
}

BOOST_FIXTURE_TEST_CASE(what_cannot_fit_is_refused, Files) {
  NEEDS_SLURM();
  const std::pair<const char*, const char*> refused[] = {
      {"--ranks 3", "need 3 cores, but a node of partition 'main' has 2"},
      {"--threads 3", "need 3 cores"},
      {"--memory 10M", "but --memory (or `memory` of the machine file) is 10 MiB: give more"},
      {"--memory 5000M", "ask for less"},
      {"--time 03:00:00", "--time (or `time` of the machine file) is 03:00:00, but partition 'main' allows 02:00:00"},
      {"--partition nowhere", "no partition 'nowhere'"},
      {"--ranks two", "--ranks: ranks: expected an integer"},
      {"--machine exmple", "(did you mean 'example'?): write it"},
      {"--set model.path=nowhere", "nowhere"}};
  for (const auto& [options, message] : refused) {
    const auto output = submit(sweep, options);
    BOOST_TEST(output.exit_code == 2, options);
    BOOST_TEST(contains(output.err, message), output.err);
  }
  BOOST_TEST(is_queue_empty());
}

BOOST_FIXTURE_TEST_CASE(a_sweep_is_done_by_an_array_and_then_there_is_nothing_to_submit, Files) {
  NEEDS_SLURM();
  BOOST_TEST_REQUIRE(Lab::get().shell("scontrol update NodeName=ALL State=DRAIN Reason=test").exit_code == 0);  // so that all of it waits
  const auto first = submitted(sweep, "--pack 2 --ranks 2");
  BOOST_TEST(first.at("submitted").size() == 4u);
  BOOST_TEST(first.at("tasks") == 2);
  const auto again = submitted(sweep, "--pack 2 --ranks 2");
  BOOST_TEST(again.at("submitted").empty());
  BOOST_TEST(again.at("job").is_null());
  BOOST_TEST_REQUIRE(again.at("queued").size() == 4u);
  BOOST_TEST(again.at("queued").at(3).at("job") == first.at("job").get<std::string>() + "_2 (PENDING)");
  for (const auto& entry : status()) BOOST_TEST(entry.at("state") == "pending");
  BOOST_TEST_REQUIRE(status().size() == 4u);
  BOOST_TEST(status().at(3).at("label").get<std::string>().starts_with("seed="));
  BOOST_TEST_REQUIRE(Lab::get().shell("scontrol update NodeName=ALL State=RESUME").exit_code == 0);
  BOOST_TEST_REQUIRE(comes_true(is_queue_empty), squeue("") + log(first));
  const auto done = runs();
  BOOST_TEST(done.size() == 4u);
  for (const auto& run : done) BOOST_TEST((run.status.state == storage::RunState::done), log(first));
  BOOST_TEST(contains(log(first), "2 rank(s) of 1 thread(s) by srun"), log(first));
  const auto table = read_text_file(first.at("table").get<std::string>());
  BOOST_TEST(contains(table, "dense model "), table);
  BOOST_TEST(contains(table, "done      4 "), table);
  const std::string recorded = read_text_file(first.at("folder").get<std::string>() + "/environment");
  BOOST_TEST(contains(recorded, "PATH="));
  BOOST_TEST(contains(recorded, "libmpi"), recorded);
  const auto nothing = submit(sweep, "--pack 2 --ranks 2");
  BOOST_TEST(contains(nothing.out, "4 run(s): 4 done, 0 queued, 0 held, 0 missing\n"), nothing.out);
  BOOST_TEST(!contains(nothing.out, "submitted"));
  BOOST_TEST(is_queue_empty());
  BOOST_TEST(!fs::exists(fs::path(store) / "slurm" / "four-seeds-2"));
}

BOOST_FIXTURE_TEST_CASE(a_job_near_its_time_limit_is_queued_again_and_comes_to_the_same_bits, Files) {
  NEEDS_SLURM();
  const auto answer = submitted(training, "--ranks 2 --nodes 2");  // a rank on each node
  const std::string job = answer.at("job").get<std::string>() + "_1";
  BOOST_TEST_REQUIRE(comes_true([&] { return has_checkpoint(); }), log(answer));
  BOOST_TEST_REQUIRE(Lab::get().shell("scancel --batch --signal=USR1 " + job).exit_code == 0);  // as --signal does before the limit
  BOOST_TEST_REQUIRE(comes_true([&] { return state_of(job) == "PENDING\n"; }), squeue("") + log(answer));
  BOOST_TEST(contains(log(answer), "the time limit is near (SIGUSR1): the ranks checkpoint and stop"), log(answer));
  BOOST_TEST(contains(log(answer), "stopped after a checkpoint and queued again"), log(answer));
  BOOST_TEST((runs().at(0).status.state == storage::RunState::interrupted));
  BOOST_TEST(submitted(training, "--ranks 2 --nodes 2").at("queued").size() == 1u);
  BOOST_TEST_REQUIRE(start_again(job));
  BOOST_TEST_REQUIRE(comes_true(is_queue_empty), squeue("") + log(answer));
  BOOST_TEST(contains(log(answer), "restart 1, on "), log(answer));
  const auto done = runs();
  BOOST_TEST_REQUIRE(done.size() == 1u);
  BOOST_TEST_REQUIRE((done[0].status.state == storage::RunState::done), log(answer));
  BOOST_TEST(storage::RunReader(done[0].folder).attempts().size() == 2u);
  BOOST_TEST(numbers_of(done[0].folder) == undisturbed());
}

BOOST_FIXTURE_TEST_CASE(a_cancelled_job_leaves_a_run_that_the_next_submission_goes_on_with, Files) {
  NEEDS_SLURM();
  const auto answer = submitted(training, "--ranks 2 --nodes 2 --launcher mpirun");
  const std::string job = answer.at("job").get<std::string>() + "_1";
  BOOST_TEST_REQUIRE(comes_true([&] { return has_checkpoint(); }), log(answer));
  BOOST_TEST_REQUIRE(Lab::get().shell("scancel " + job).exit_code == 0);
  BOOST_TEST_REQUIRE(comes_true(is_queue_empty), squeue("") + log(answer));
  BOOST_TEST(contains(log(answer), "by mpirun"));
  BOOST_TEST(contains(log(answer), "Slurm ends the job (SIGTERM): the ranks checkpoint and stop"), log(answer));
  BOOST_TEST(contains(log(answer), "what is in checkpoints is kept: if Slurm does not start this again, submit the sweep again to go on"), log(answer));
  BOOST_TEST((runs().at(0).status.state == storage::RunState::interrupted), log(answer));
  const auto next = submitted(training, "--ranks 1");
  BOOST_TEST(next.at("submitted").size() == 1u);
  BOOST_TEST_REQUIRE(comes_true(is_queue_empty), squeue("") + log(next));
  const auto done = runs();
  BOOST_TEST_REQUIRE(done.size() == 1u);
  BOOST_TEST((done[0].status.state == storage::RunState::done), log(next));
  BOOST_TEST(numbers_of(done[0].folder) == undisturbed());
}

BOOST_FIXTURE_TEST_CASE(a_job_whose_node_dies_goes_on_elsewhere_and_comes_to_the_same_bits, Files) {
  NEEDS_SLURM();
  const auto answer = submitted(training, "--ranks 2");
  const std::string job = answer.at("job").get<std::string>() + "_1";
  BOOST_TEST_REQUIRE(comes_true([&] { return has_checkpoint(); }), log(answer));
  BOOST_TEST(status().at(0).at("state") == "running");
  BOOST_TEST(status().at(0).at("job").at("name") == job);
  const std::string node = squeue("--format=%N --jobs=" + job).substr(0, 5);
  BOOST_TEST_REQUIRE(Lab::get().script("kill", node).exit_code == 0);
  BOOST_TEST_REQUIRE(Lab::get().shell("scontrol update NodeName=" + node + " State=DOWN Reason=dead").exit_code == 0);  // sooner than Slurm sees it
  BOOST_TEST_REQUIRE(comes_true([&] { return state_of(job) == "PENDING\n"; }), squeue("") + log(answer));
  BOOST_TEST(!contains(log(answer), "stopped after"), log(answer));
  BOOST_TEST_REQUIRE(status().size() == 1u);
  BOOST_TEST(status().at(0).at("state") == "interrupted");
  BOOST_TEST(contains(status().at(0).at("said"), "Slurm has queued its job again"));
  BOOST_TEST_REQUIRE(start_again(job));
  BOOST_TEST_REQUIRE(comes_true(is_queue_empty), squeue("") + log(answer));
  BOOST_TEST_REQUIRE(Lab::get().script("boot", node).exit_code == 0);
  BOOST_TEST_REQUIRE(Lab::get().shell("scontrol update NodeName=" + node + " State=RESUME").exit_code == 0);
  BOOST_TEST(contains(log(answer), node == "node1" ? "restart 1, on node2" : "restart 1, on node1"), log(answer));
  const auto done = runs();
  BOOST_TEST_REQUIRE(done.size() == 1u);
  BOOST_TEST_REQUIRE((done[0].status.state == storage::RunState::done), log(answer));
  BOOST_TEST(numbers_of(done[0].folder) == undisturbed());
}

BOOST_FIXTURE_TEST_CASE(a_job_that_makes_way_for_another_checkpoints_and_is_queued_again, Files) {
  NEEDS_SLURM();
  // With a GraceTime only the ranks are told, and the script queues the task again; without, all are, the ranks twice, and Slurm does.
  for (const auto& [partition, told] : {std::pair{"spare", "stopped after a checkpoint and queued again"}, {"short", "Slurm ends the job (SIGTERM)"}}) {
    store = folder / partition;
    const auto answer = submitted(training, fmt::format("--ranks 2 --time 5 --partition {}", partition));
    BOOST_TEST_REQUIRE(comes_true([&] { return has_checkpoint(); }), log(answer));
    const auto urgent = Lab::get().shell("sbatch --parsable --partition=urgent --ntasks=2 --mem=100 --output=/dev/null --wrap=true");
    BOOST_TEST_REQUIRE(urgent.exit_code == 0, urgent.err);
    const std::string job = answer.at("job").get<std::string>() + "_1";
    BOOST_TEST_REQUIRE(comes_true([&] { return state_of(job) == "PENDING\n"; }), squeue("") + log(answer));
    BOOST_TEST(contains(log(answer), told), log(answer));
    BOOST_TEST((runs().at(0).status.state == storage::RunState::interrupted), log(answer));
    BOOST_TEST_REQUIRE(Lab::get().shell("scancel --user=root").exit_code == 0);
    BOOST_TEST_REQUIRE(comes_true(is_queue_empty), squeue(""));
  }
}

BOOST_FIXTURE_TEST_CASE(a_job_is_not_queued_again_without_end_and_its_exit_codes_are_passed_on, Files) {
  NEEDS_SLURM();
  write_machine("max_restarts = 0\n");
  const auto answer = submitted(training);
  const std::string job = answer.at("job").get<std::string>() + "_1";
  BOOST_TEST_REQUIRE(comes_true([&] { return has_checkpoint(); }), log(answer));
  BOOST_TEST_REQUIRE(Lab::get().shell("scancel --batch --signal=USR1 " + job).exit_code == 0);
  BOOST_TEST_REQUIRE(comes_true(is_queue_empty), squeue("") + log(answer));
  BOOST_TEST(contains(log(answer), "restarted 0 times (max_restarts): submit the sweep again to go on"), log(answer));
  const auto drained = Lab::get().shell("scontrol update NodeName=ALL State=DRAIN Reason=test");
  const auto changed = submitted(training);
  write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(600, 3));  // after the submission, before the start
  BOOST_TEST_REQUIRE(Lab::get().shell("scontrol update NodeName=ALL State=RESUME").exit_code == 0);
  BOOST_TEST_REQUIRE(comes_true(is_queue_empty), squeue("") + log(changed));
  BOOST_TEST(contains(log(changed), "no run has the cell"), log(changed));
  BOOST_TEST(contains(log(changed), "ended with exit code 2"), log(changed));
}

BOOST_AUTO_TEST_SUITE_END()
