// What `kronlab check` and `kronlab run` say, and what a run does whose store fails.
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>
#include <regex>

#include "experiments/pipeline/known_cells.hpp"
#include "framework/storage/claim.hpp"
#include "framework/storage/run_index.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_file_system.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::ProgramOutput;
using kronlab::testing::contains;
using kronlab::testing::run_program;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

const std::string kronlab_program = kronlab::testing::program_path("bin/kronlab");

/// A tiny model, a text and a sweep over two seeds.
struct Files {
  kronlab::testing::TemporaryFolder folder;
  std::string store = folder / "store", toml = folder / "e.toml";

  Files() {
    kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_llama_config());
    write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(400, 2));
    write(0.5);
  }
  void write(double keep, const std::string& more = "") const {
    write_file_atomically(toml, fmt::format("[experiment]\nname = \"words\"\n[model]\npath = \"model\"\n[[evaluate]]\ndataset = {{ path = \"e.txt\" }}\n"
                                            "protocol = {{ window = 32 }}\nmax_windows = 4\n[[stage]]\nname = \"MLPs\"\nlayers = [\"layers.1.mlp.*\"]\n"
                                            "decompose = {{ kind = \"svd\", keep = {} }}\n[sweep]\nseeds = [0, 1]\n{}",
                                            keep, more));
  }
  ProgramOutput run(const std::string& options = "", const std::string& command = "run") const {
    return run_program(fmt::format("{} {} {} --store {} {}", kronlab_program, command, toml, store, options));
  }
  json check(const std::string& options = "") const {
    const auto output = run("--json " + options, "check");
    BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
    return json::parse(output.out);
  }
};

/// A training of a second or two that checkpoints often.
struct Training {
  kronlab::testing::TemporaryFolder folder;

  Training() {
    kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_llama_config());
    write_file_atomically(folder / "c.txt", kronlab::testing::nonsense(3000, 1));
    write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(600, 2));
    write_file_atomically(folder / "run.toml", R"([experiment]
name = "faults"
[model]
path = "model"
[data]
distillation = { path = "c.txt", window = 32 }
[[evaluate]]
dataset = { path = "e.txt" }
protocol = { window = 32 }
max_windows = 9
[[stage]]
layers = ["layers.*.mlp.*"]
decompose = { kind = "svd", keep = 0.5 }
distill = { steps = 300, batch_tokens = 256, micro_batch = 2, losses = { ce = 1.0 }, lr = 1e-3, checkpoint = { every_steps = 10, keep = 2 } }
)");
  }
  std::string command(const std::string& store) const { return fmt::format("{} run {} --store {}", kronlab_program, folder / "run.toml", store); }
  /// Runs, and does something as soon as there is a checkpoint.
  ProgramOutput run_and(const std::string& store, const std::string& action) const {
    write_file_atomically(folder / "act.sh", fmt::format("for i in $(seq 3000); do find {} -name DONE 2>/dev/null | grep -q . && break; sleep 0.02; done\n{}\n", store, action));
    return run_program(fmt::format("sh -c 'sh {} & {}'", folder / "act.sh", command(store)));
  }
  /// What the run of a store that nobody disturbed came to.
  std::string undisturbed() const {
    const auto output = run_program(command(folder / "undisturbed"));
    BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
    return numbers_of(storage::indexed_runs(folder / "undisturbed").at(0).folder);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(commands)

BOOST_FIXTURE_TEST_CASE(check_knows_the_cells_that_a_run_will_have_and_what_is_done, Files) {
  const auto before = check();
  BOOST_TEST_REQUIRE(before.at("runs").size() == 2u);
  for (const auto& run : before.at("runs")) {
    BOOST_TEST(run.at("state") == "new");
    BOOST_TEST(run.at("id").is_null());
    BOOST_TEST(run.at("mean_seconds").is_null());
    BOOST_TEST(run.at("core_seconds").get<double>() > 0);
    BOOST_TEST(run.at("memory_bytes_per_rank").get<Index>() > 0);
  }
  BOOST_TEST(before.at("runs").at(1).at("parameters").at(0).at(0) == "experiment.seed");
  BOOST_TEST(!fs::exists(store));
  BOOST_TEST_REQUIRE(run("--set sweep.seeds=[1]").exit_code == 0);
  const auto done = storage::indexed_runs(store);
  BOOST_TEST_REQUIRE(done.size() == 1u);
  const auto after = check();
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& run = after.at("runs").at(i);
    BOOST_TEST(run.at("cell") == before.at("runs").at(i).at("cell"));
    BOOST_TEST(run.at("state") == (i == 1 ? "done" : "new"));
    BOOST_TEST(run.at("runs_measured") == 1);
    BOOST_TEST(std::abs(run.at("mean_seconds").get<double>() - done[0].status.seconds) < 1e-9);
  }
  BOOST_TEST(after.at("runs").at(1).at("cell") == done[0].cell);
  BOOST_TEST(after.at("runs").at(1).at("id") == done[0].id);
  const auto words = run("", "check");
  BOOST_TEST(contains(words.out, "cell     " + done[0].cell), words.out);
  BOOST_TEST(contains(words.out, "state    done, " + done[0].id));
  BOOST_TEST(contains(words.out, "varies   experiment.seed = 1"));
  BOOST_TEST(contains(words.out, "as the mean of 1 finished run(s) of this kind"));
  BOOST_TEST(contains(words.out, "2 run(s), all can be done; 1 done before, 1 to do in about"));
}

BOOST_FIXTURE_TEST_CASE(only_the_runs_of_given_cells_are_done, Files) {
  const auto cells = check().at("runs");
  const std::string second = cells.at(1).at("cell");
  BOOST_TEST_REQUIRE(run("--cells " + second).exit_code == 0);
  const auto done = storage::indexed_runs(store);
  BOOST_TEST_REQUIRE(done.size() == 1u);
  BOOST_TEST(done[0].cell == second);
  const std::string all = second + "," + cells.at(0).at("cell").get<std::string>();
  const auto both = run_program(fmt::format("mpirun --oversubscribe --bind-to none -n 2 {} run {} --store {} --quiet --cells {}", kronlab_program, toml, store, all));
  BOOST_TEST(contains(both.out, ": 2 of 2 run(s) done (1 before)"), both.out + both.err);
  write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(400, 3));  // other numbers would come out
  const auto changed = run("--cells " + second);
  BOOST_TEST(changed.exit_code == 2);
  BOOST_TEST(contains(changed.err, "no run has the cell '" + second + "': the file, its model or its texts have changed since"), changed.err);
}

BOOST_FIXTURE_TEST_CASE(memory_of_a_rank_is_for_the_ranks_that_are_asked_for, Files) {
  write_file_atomically(folder / "c.txt", kronlab::testing::nonsense(3000, 1));
  write(0.5, "[data]\ncalibration = { path = \"c.txt\", tokens = 1_000_000, window = 32 }\n");  // shared by ranks
  const auto memory = [&](const std::string& options) { return check(options).at("runs").at(0).at("memory_bytes_per_rank").get<Index>(); };
  BOOST_TEST(memory("--ranks 1") == memory(""));
  BOOST_TEST(memory("--ranks 4") < memory("--ranks 1"));
  BOOST_TEST(check().at("runs").at(0).at("experiment") == "words");
}

BOOST_FIXTURE_TEST_CASE(check_says_what_failed_what_is_held_and_what_is_not_there, Files) {
  const auto cells = check().at("runs");
  BOOST_TEST(run("--set evaluate.0.expect_dense=2.0 --set sweep.seeds=[0]").exit_code == 2);
  const auto claim = storage::Claim::take(store, cells.at(1).at("cell"));
  const auto known = check().at("runs");
  BOOST_TEST(known.at(0).at("state") == "failed");
  BOOST_TEST(contains(known.at(0).at("reason"), "expected 2.0000"));
  BOOST_TEST(known.at(1).at("state") == "held");
  BOOST_TEST(contains(known.at(1).at("reason"), std::to_string(::getpid())));
  fs::remove(folder.path() / "model" / "model.safetensors");
  const auto without = check().at("runs").at(0);
  BOOST_TEST(without.at("cell").is_null());
  BOOST_TEST(contains(without.at("missing"), "has no weights"));
  kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_llama_config());
  BOOST_TEST(check().at("runs").at(0).at("cell") == cells.at(0).at("cell"));
  fs::remove(folder / "e.txt");
  BOOST_TEST(contains(check().at("runs").at(0).at("missing"), "e.txt"));
}

BOOST_AUTO_TEST_CASE(runs_of_one_kind_take_about_the_same_time) {
  const auto kind = [](const std::string& change, const std::string& to) {
    std::string toml = "[experiment]\nname = \"e\"\nseed = 1\n[model]\npath = \"m\"\n[data]\ndistillation = { path = \"t\", window = 64 }\n[[stage]]\nlayers = [\"a\"]\n"
                       "decompose = { kind = \"svd\", keep = 0.5 }\ndistill = { steps = 10, batch_tokens = 256, lr = 1e-3, losses = { ce = 1.0 } }\n";
    if (!change.empty()) toml.replace(toml.find(change), change.size(), to);
    return KnownCells::kind_of(ExperimentSpec::read(config::parse_toml(toml, "f.toml"), "/base").resolved);
  };
  for (const auto& [from, to] : {std::pair{"seed = 1", "seed = 2"}, {"keep = 0.5", "keep = 0.25"}, {"lr = 1e-3", "lr = 1e-4"}, {"\"e\"", "\"f\""}}) {
    BOOST_TEST(kind(from, to) == kind("", ""), to);
  }
  for (const auto& [from, to] : {std::pair{"steps = 10", "steps = 11"}, {"batch_tokens = 256", "batch_tokens = 512"}, {"\"m\"", "\"n\""}, {"\"a\"", "\"b\""},
                                 {"seed = 1", "precision = \"bf16\""}, {"\"svd\", keep = 0.5", "\"kronecker\", left_rows = 2, left_cols = 2"},
                                 {"steps = 10", "tokens = 10"}, {"[[stage]]", "[[evaluate]]\ndataset = { path = \"x\" }\n[[stage]]"}}) {
    BOOST_TEST(kind(from, to) != kind("", ""), to);
  }
}

BOOST_FIXTURE_TEST_CASE(a_run_says_a_line_for_each_phase_and_its_log_has_them_too, Files) {
  const auto output = run();
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  const auto runs = storage::indexed_runs(store);
  const std::string log = read_text_file(storage::attempt_log_path(runs.at(0).folder, 1).string());
  for (const char* phase : {"opening ", "dense model on e: perplexity ", "MLPs: 3 layers by svd", "MLPs on e: perplexity "}) {
    BOOST_TEST(contains(output.err, phase), output.err);
    BOOST_TEST(contains(log, phase), log);
  }
  BOOST_TEST(contains(output.err, "== run 2 of 2: seed=1"));
  BOOST_TEST(contains(output.out, "e.toml: 2 of 2 run(s) done (0 before); store '" + store + "'\n"), output.out);
  for (const auto& text : {output.err, log, output.out}) {  // no terminal: nothing is rewritten in place
    BOOST_TEST(!contains(text, "\r"));
    BOOST_TEST(!contains(text, "\033"));
  }
}

BOOST_FIXTURE_TEST_CASE(what_was_done_before_does_not_shorten_what_is_left, Files) {
  BOOST_TEST_REQUIRE(run("--set sweep.seeds=[0]").exit_code == 0);
  const auto output = run("--set sweep.seeds=[0,1,2]");
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  BOOST_TEST(!contains(output.err, "1 of 3 runs after"), output.err);  // of which nothing is known yet
  std::smatch found;
  const std::string& said = output.err;
  BOOST_TEST_REQUIRE(std::regex_search(said, found, std::regex("2 of 3 runs after (.*), about (.*) left")), said);
  BOOST_TEST(found[1].str() == found[2].str());  // one run was worked on, one is left
  const auto shared = run("--set sweep.seeds=[3,4,5] --one-of 1000");
  BOOST_TEST(contains(shared.err, "about 0.0 s left"), shared.err);
}

BOOST_FIXTURE_TEST_CASE(a_student_of_some_blocks_is_not_called_the_dense_model, Files) {
  write(0.5, "[student]\nblocks = [0, 1]\n");
  const auto output = run();
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  BOOST_TEST(contains(output.err, "student of 2 blocks of the model on e: perplexity "), output.err);
  BOOST_TEST(!contains(output.err, "dense model on"), output.err);
}

BOOST_FIXTURE_TEST_CASE(a_quiet_run_says_one_line_or_what_failed, Files) {
  const auto quiet = run("--quiet");
  BOOST_TEST(quiet.exit_code == 0);
  BOOST_TEST(quiet.err.empty(), quiet.err);
  BOOST_TEST(quiet.out == toml + ": 2 of 2 run(s) done (0 before); store '" + store + "'\n");
  BOOST_TEST(contains(read_text_file(storage::attempt_log_path(storage::indexed_runs(store).at(0).folder, 1).string()), "MLPs: 3 layers by svd"));
  write(0.25, "[[sweep.variants]]\nname = \"good\"\n[[sweep.variants]]\nname = \"wrong\"\n\"evaluate.0.expect_dense\" = 2.0\n\"experiment.paper\" = \"none\"\n"
              "[[sweep.grid]]\nwhen = { \"experiment.paper\" = \"none\" }\n\"stage.0.decompose.keep\" = [0.125]\n");
  const auto failed = run("--quiet --set sweep.seeds=[0]");
  BOOST_TEST(failed.exit_code == 1);
  BOOST_TEST(contains(failed.err, "error: wrong keep=0.125 seed=0 failed: the dense model's perplexity"), failed.err);
  BOOST_TEST(std::ranges::count(failed.err, '\n') == 1, failed.err);
  BOOST_TEST(failed.out == toml + ": 1 of 2 run(s) done (0 before), 1 failed; store '" + store + "'\n");
  BOOST_TEST(run("--quiet --json").exit_code == 2);
}

BOOST_FIXTURE_TEST_CASE(json_of_a_run_has_state_cell_folder_and_results, Files) {
  const auto output = run("--json");
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  const auto cells = check().at("runs");
  const auto runs = json::parse(output.out).at("runs");
  BOOST_TEST_REQUIRE(runs.size() == 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& run = runs.at(i);
    BOOST_TEST(run.at("state") == "done");
    BOOST_TEST(run.at("cell") == cells.at(i).at("cell"));
    BOOST_TEST(run.at("folder") == store + "/runs/" + run.at("id").get<std::string>());
    const auto& result = run.at("results").at("measured").at(0);
    BOOST_TEST(result.at("name") == "eval/perplexity");
    BOOST_TEST(result.at("dataset") == "e");
    const auto metrics = storage::RunReader(run.at("folder").get<std::string>()).metrics("eval/perplexity");
    BOOST_TEST_REQUIRE(metrics.size() == 2u);
    BOOST_TEST(result.at("dense").get<double>() == metrics[0].value);
    BOOST_TEST(result.at("value").get<double>() == metrics[1].value);
    BOOST_TEST(result.at("value_standard_error").get<double>() == metrics[1].standard_error.value());
    BOOST_TEST(run.at("results").at("parameters").get<Index>() == cells.at(i).at("stages").at(0).at("after").at("parameters").get<Index>());
  }
  const auto failed = json::parse(run("--json --set evaluate.0.expect_dense=2.0 --set experiment.precision=bf16").out).at("runs").at(0);
  BOOST_TEST(failed.at("state") == "failed");
  BOOST_TEST(contains(failed.at("error"), "expected 2.0000"));
  BOOST_TEST(!failed.contains("results"));
  BOOST_TEST(fs::exists(failed.at("folder").get<std::string>() + "/run.sqlite"));
  BOOST_TEST(failed.at("cell").get<std::string>().size() == 64u);
}

BOOST_FIXTURE_TEST_CASE(a_disk_that_fills_up_ends_a_run_that_goes_on_when_there_is_space, Training) {
  const kronlab::testing::SmallFileSystem disk(24'000);
  if (!disk.is_mounted()) {
    BOOST_TEST_MESSAGE("not run: no file system can be mounted here");
    return;
  }
  const std::string numbers = undisturbed(), store = disk / "store";
  const auto full = run_and(store, fmt::format("dd if=/dev/zero of={} bs=4k 2>/dev/null", disk / "filler"));
  BOOST_TEST(full.exit_code == 1, full.err);
  BOOST_TEST((contains(full.err, "No space left") || contains(full.err, "disk is full")), full.err);
  BOOST_TEST(contains(full.err, store), full.err);
  BOOST_TEST(contains(full.err, "once that is put right, the same command goes on"), full.err);
  for (const auto& run : storage::indexed_runs(store)) BOOST_TEST(run.problem.empty(), run.problem);  // it can be read all the time
  disk.free();
  const auto resumed = run_program(command(store));
  BOOST_TEST(resumed.exit_code == 0, resumed.err);
  const auto runs = storage::indexed_runs(store);
  BOOST_TEST_REQUIRE(runs.size() == 1u);
  BOOST_TEST((runs[0].status.state == storage::RunState::done));
  BOOST_TEST(numbers_of(runs[0].folder) == numbers);
}

BOOST_FIXTURE_TEST_CASE(a_store_that_is_deleted_ends_a_run_with_its_path_and_the_next_one_starts_anew, Training) {
  const std::string store = folder / "store";
  const auto deleted = run_and(store, fmt::format("mv {0} {0}.gone", store));
  BOOST_TEST(deleted.exit_code == 1, deleted.err);
  BOOST_TEST(contains(deleted.err, store), deleted.err);
  BOOST_TEST(contains(deleted.err, "once that is put right"), deleted.err);
  BOOST_TEST(!contains(deleted.err, "taken it over"), deleted.err);
  const auto before = storage::indexed_runs(store + ".gone");  // what was acknowledged is there, in the place where it is now
  BOOST_TEST_REQUIRE(before.size() == 1u);
  BOOST_TEST(before[0].problem.empty(), before[0].problem);
  BOOST_TEST(!storage::RunReader(before[0].folder).metrics("eval/perplexity").empty());
  const auto again = run_program(command(store));
  BOOST_TEST(again.exit_code == 0, again.err);
  BOOST_TEST((storage::indexed_runs(store).at(0).status.state == storage::RunState::done));
}

BOOST_AUTO_TEST_SUITE_END()
