#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "tests/experiments/run_fixture.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/program.hpp"
#include "tests/support/small_file_system.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using kronlab::testing::program_path;
using kronlab::testing::ProgramOutput;
using kronlab::testing::contains;
using kronlab::testing::run_program;

namespace {

namespace fs = std::filesystem;

const std::string kronlab_program = program_path("bin/kronlab");
const std::string mpirun = "mpirun --oversubscribe --bind-to none -n ";

/// A tiny model, texts and an experiment in a folder.
struct Fixture {
  kronlab::testing::TemporaryFolder folder;
  std::string toml = folder / "e.toml", text = folder / "e.txt", model = folder / "model", store = folder / "store";

  Fixture() {
    kronlab::testing::write_tiny_model(model, kronlab::testing::tiny_llama_config());
    write_file_atomically(text, kronlab::testing::nonsense(400, 2));
    write_file_atomically(
        toml,
        "[experiment]\nname = \"driver\"\n[model]\npath = \"model\"\n[[evaluate]]\ndataset = { path = \"e.txt\" }\n"
        "protocol = { window = 32 }\nmax_windows = 4\n"
        "[[stage]]\nlayers = [\"layers.1.mlp.*\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n");
  }

  ProgramOutput run(const std::string& options = "") const {
    return run_program(kronlab_program + " run " + toml + " --store " + store + " " + options);
  }
  ProgramOutput eval(const std::string& options = "--window 32") const {
    return run_program(kronlab_program + " eval " + model + " --text " + text + " " + options);
  }
};

/// Exit code 2, a message with these words, nothing on standard output.
void check_refused(const ProgramOutput& output, const std::string& words) {
  BOOST_TEST(output.exit_code == 2);
  BOOST_TEST(contains(output.err, words), output.err);
  BOOST_TEST(output.out.empty());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(driver)

BOOST_AUTO_TEST_CASE(help_is_there_for_every_command_and_usage_errors_end_with_2) {
  for (const char* command : {"", "check", "profile", "run", "eval", "export", "generate"}) {
    const auto output = run_program(kronlab_program + " " + command + " --help");
    BOOST_TEST(output.exit_code == 0);
    BOOST_TEST(contains(output.out, "Usage"));
  }
  BOOST_TEST(run_program(kronlab_program).exit_code == 2);
  BOOST_TEST(run_program(kronlab_program + " evaluate").exit_code == 2);
  BOOST_TEST(run_program(kronlab_program + " eval model").exit_code == 2);
  BOOST_TEST(run_program(kronlab_program + " eval m --text t --join nothing").exit_code == 2);
}

BOOST_FIXTURE_TEST_CASE(check_prints_the_plan_and_reads_no_weights, Fixture) {
  fs::remove(folder.path() / "model" / "model.safetensors");
  const auto text_plan = run_program(kronlab_program + " check " + toml);
  BOOST_TEST(text_plan.exit_code == 0);
  BOOST_TEST(contains(text_plan.out, "layers.1.mlp.up_proj"));
  BOOST_TEST(contains(text_plan.out, "1 run(s), all can be done"));
  const auto json_plan = nlohmann::json::parse(run_program(kronlab_program + " check --json " + toml).out);
  // truncation 10 of 64 x 32: 10 * 96 parameters in place of 2048, three times
  const auto& run = json_plan.at("runs").at(0);
  BOOST_TEST(run.at("stages").at(0).at("after").at("parameters").get<Index>() ==
             run.at("dense").at("parameters").get<Index>() - 3 * (2048 - 960));
}

BOOST_FIXTURE_TEST_CASE(what_is_included_is_the_same_run_and_all_ranks_read_the_same_files, Fixture) {
  const std::string check = kronlab_program + " check --json " + toml;
  const std::string plan = run_program(check).out;
  BOOST_TEST(run().exit_code == 0);
  const std::string written = read_text_file(toml);
  const auto stage = written.find("[[stage]]");
  write_file_atomically(folder / "base.toml", written.substr(0, stage));
  write_file_atomically(toml, "include = \"base.toml\"\n" + written.substr(stage));
  BOOST_TEST(run_program(check).out == plan);
  BOOST_TEST(run_program(mpirun + "2 " + check).exit_code == 0);
  BOOST_TEST(nlohmann::json::parse(run("--json").out).at("runs").at(0).at("done_before") == true);
  write_file_atomically(folder / "base.toml", "include = \"e.toml\"");
  for (const char* command : {" check ", " run ", " train "}) {
    check_refused(run_program(kronlab_program + command + toml), "base.toml:1:1: include: '" + toml + "' includes itself");
  }
  check_refused(run_program(mpirun + "2 " + check), "includes itself");
}

BOOST_FIXTURE_TEST_CASE(eval_prints_one_json_object_that_is_the_same_on_two_ranks, Fixture) {
  const std::string arguments = " eval " + model + " --text " + text + " --window 32 --json";
  auto one = nlohmann::json::parse(run_program(kronlab_program + arguments).out);
  auto two = nlohmann::json::parse(run_program(mpirun + "2 " + kronlab_program + arguments).out);
  for (const char* key : {"perplexity", "mean_nll", "standard_error", "predicted_tokens", "windows",
                          "tokens_per_second", "precision", "protocol", "model_hash", "data_hash"}) {
    BOOST_TEST(one.contains(key), key);
  }
  one.erase("tokens_per_second"), two.erase("tokens_per_second");
  BOOST_TEST(one == two);
}

BOOST_FIXTURE_TEST_CASE(a_run_leaves_a_table_a_record_and_a_model_that_evaluates_to_the_recorded_number, Fixture) {
  const auto output = run();
  BOOST_TEST(output.exit_code == 0);
  BOOST_TEST(contains(output.out, "dense"));
  const auto as_json = nlohmann::json::parse(run("--json").out);
  BOOST_TEST(as_json.at("runs").at(0).at("done_before") == true);
  const std::string id = as_json.at("runs").at(0).at("id");
  BOOST_TEST(
      run_program(kronlab_program + " export " + id + " --store " + store + " --out " + (folder / "out")).exit_code ==
      0);
  const auto exported = nlohmann::json::parse(run_program(kronlab_program + " eval " + (folder / "out") + " --text " +
                                                          text + " --window 32 --max-windows 4 --json")
                                                  .out);
  const auto shown = nlohmann::json::parse(
      run_program(program_path("bin/kronlab-report") + " show --json " + id + " --store " + store).out);
  bool is_found = false;
  for (const auto& metric : shown.at("metrics")) {
    if (metric.at("name") != "eval/perplexity" || metric.at("stage") != 0) continue;
    // the exported weights are rounded to float32 once more
    BOOST_TEST(std::abs(exported.at("perplexity").get<double>() / metric.at("value").get<double>() - 1) < 1e-5);
    is_found = true;
  }
  BOOST_TEST(is_found);
  BOOST_TEST(run_program(kronlab_program + " export nothing --store " + store + " --out " + (folder / "x")).exit_code ==
             2);
}

BOOST_FIXTURE_TEST_CASE(wrong_configurations_are_refused_before_anything_is_done, Fixture) {
  check_refused(run("--set stage.0.layers='[\"layers.9.mlp.*\"]'"), "layer pattern 'layers.9.mlp.*' matches nothing");
  check_refused(run("--set stage.0.decompose.kep=0.5"), "unknown key 'stage.0.decompose.kep' (did you mean 'keep'?)");
  check_refused(run("--set stage.0.decompose.truncation=40 --set stage.0.decompose='{kind=\"svd\",truncation=40}'"),
                "truncation 40");
  check_refused(run("--set evaluate.0.protocol.window=65"), "window is 65, expected 2 to 64");
  check_refused(run("--set model.path=nowhere"), "nowhere");
  check_refused(run("--set evaluate"), "expected key=value");
  check_refused(run_program(kronlab_program + " run " + (folder / "missing.toml")), "missing.toml");
  write_file_atomically(toml, "[experiment]\nname = \"a\"\nname = \"b\"\n");
  check_refused(run(), "e.toml:3:");
  BOOST_TEST(!fs::exists(store));
}

BOOST_FIXTURE_TEST_CASE(bad_texts_and_weights_are_named, Fixture) {
  write_file_atomically(text, "");
  check_refused(eval(), "is empty");
  write_file_atomically(text, "good \xff bad");
  check_refused(eval(), "not valid UTF-8 at byte 5");
  write_file_atomically(text, "t");
  check_refused(eval(), "expected at least 2");
  write_file_atomically(text, kronlab::testing::nonsense(100));
  check_refused(eval("--window 100"), "expected 2 to 64");
  check_refused(eval("--window 32 --stride 40"), "stride is 40");
  check_refused(run_program(kronlab_program + " eval " + (folder / "none") + " --text " + text), "does not exist");
  const fs::path weights = folder.path() / "model" / "model.safetensors";
  std::string bytes = read_text_file(weights.string());
  const std::string whole = bytes;
  write_file_atomically(weights.string(), bytes.substr(0, bytes.size() - 100));
  check_refused(eval(), "model.safetensors");
  bytes = whole;
  bytes.replace(bytes.size() - 4, 4, std::string("\x00\x00\xc0\x7f", 4));  // a NaN
  write_file_atomically(weights.string(), bytes);
  check_refused(eval(), "NaN, infinite");
  const auto failed = run();
  BOOST_TEST(failed.exit_code == 2);
  BOOST_TEST(contains(failed.out, "failed: run: "));
  BOOST_TEST(!contains(failed.out, "dense"));
}

BOOST_FIXTURE_TEST_CASE(one_bad_run_of_a_sweep_fails_alone, Fixture) {
  const std::string sweep = read_text_file(toml) +
                            "[[sweep.variants]]\nname = \"good\"\n[[sweep.variants]]\nname = \"wrong "
                            "baseline\"\n\"evaluate.0.expect_dense\" = 2.0\n\"experiment.seed\" = 1\n";
  write_file_atomically(toml, sweep);
  const auto output = run();
  BOOST_TEST(output.exit_code == 1);
  BOOST_TEST(contains(output.out, "good"));
  BOOST_TEST(contains(output.out, "failed: wrong baseline: the dense model's perplexity"));
  const auto list = run_program(program_path("bin/kronlab-report") + " list --store " + store);
  BOOST_TEST(contains(list.out, "failed"));
  BOOST_TEST(contains(list.out, "done"));
}

BOOST_FIXTURE_TEST_CASE(the_words_of_every_attempt_stay_with_the_run, Fixture) {
  const fs::path weights = folder.path() / "model" / "model.safetensors", aside = folder.path() / "aside";
  fs::copy(weights, aside);
  write_file_atomically(weights.string(), read_text_file(aside.string()).replace(fs::file_size(aside) - 4, 4, std::string("\x00\x00\xc0\x7f", 4)));
  BOOST_TEST(run().exit_code == 2);
  BOOST_TEST(run().exit_code == 2);
  const auto log = [&](const std::string& options) {
    return run_program(program_path("bin/kronlab-report") + " log driver --store " + store + " " + options);
  };
  const auto both = log("");
  BOOST_TEST(both.exit_code == 0, both.err);
  for (const char* words : {"== attempt 1: ", "== attempt 2: ", "failed: ", "NaN, infinite", "opening "}) BOOST_TEST(contains(both.out, words), both.out);
  const auto second = log("--attempt 2");
  BOOST_TEST(contains(second.out, "Z  attempt 2 of run "), second.out);
  BOOST_TEST(!contains(second.out, "attempt 1"), second.out);
  BOOST_TEST(contains(log("--lines 1").out, "Z  failed: "));
}

BOOST_FIXTURE_TEST_CASE(a_store_that_cannot_be_written_ends_with_1_and_the_path, Fixture) {
  write_file_atomically(folder / "file", "");
  auto output = run_program(kronlab_program + " run " + toml + " --store " + (folder / "file") + "/store");
  BOOST_TEST(output.exit_code == 1);
  BOOST_TEST(contains(output.err, "file/store"), output.err);
  const kronlab::testing::SmallFileSystem small(4096);
  if (!small.is_mounted()) return;
  small.fill();
  output = run_program(kronlab_program + " run " + toml + " --store " + (small / "store"));
  BOOST_TEST(output.exit_code == 1);
  BOOST_TEST(contains(output.err, "No space left"), output.err);
  small.free();
  BOOST_TEST(run_program(kronlab_program + " run " + toml + " --store " + (small / "store")).exit_code == 0);
  BOOST_TEST(small.make_read_only());
  output = run_program(kronlab_program + " run " + toml + " --set experiment.seed=7 --store " + (small / "store"));
  BOOST_TEST(output.exit_code == 1);
  BOOST_TEST(contains(output.err, small.path().string()), output.err);
}

BOOST_FIXTURE_TEST_CASE(worlds_that_are_not_what_the_launcher_said_are_refused_with_advice, Fixture) {
  const std::string command = kronlab_program + " check " + toml;
  auto output = run_program(mpirun + "2 " + command, "SLURM_NTASKS=1");
  BOOST_TEST(output.exit_code == 1);
  BOOST_TEST(contains(output.err, "the world has 2 rank(s), but SLURM_NTASKS is 1"), output.err);
  output = run_program(command, "SLURM_NTASKS=4 SLURM_PROCID=2");
  BOOST_TEST(output.exit_code == 1);
  BOOST_TEST(contains(output.err, "each is a world of one rank"), output.err);
  output = run_program(command, "OMP_NUM_THREADS=100000 KRONLAB_OVERSUBSCRIBE=0");
  BOOST_TEST(output.exit_code == 2);
  BOOST_TEST(contains(output.err, "--oversubscribe"), output.err);
}

BOOST_FIXTURE_TEST_CASE(more_ranks_than_layers_and_windows_work, Fixture) {
  const auto output = run_program(mpirun + "7 " + kronlab_program + " run " + toml + " --store " + store);
  BOOST_TEST(output.exit_code == 0);
  BOOST_TEST(contains(output.out, "dense"));
}

BOOST_FIXTURE_TEST_CASE(a_rank_that_fails_ends_all_ranks_with_its_message, Fixture) {
  fs::remove(folder.path() / "model" / "merges.txt");  // only root reads the tokenizer
  const auto output = run_program(mpirun + "3 " + kronlab_program + " run " + toml + " --store " + store, "", 60);
  BOOST_TEST(output.exit_code != 124);
  BOOST_TEST(output.exit_code != 0);
  BOOST_TEST(contains(output.err, "merges.txt is not"), output.err);
}

BOOST_FIXTURE_TEST_CASE(a_killed_rank_ends_the_job_and_the_run_goes_on_to_the_same_numbers, Fixture) {
  write_file_atomically(folder / "long.txt", kronlab::testing::nonsense(60'000, 3));
  std::string stages;
  for (int block = 0; block < 3; ++block)
    stages +=
        fmt::format("[[stage]]\nlayers = [\"layers.{}.mlp.*\"]\ndecompose = {{ kind = \"svd\", keep = 0.5 }}\n", block);
  write_file_atomically(toml,
                        "[experiment]\nname = \"killed\"\n[model]\npath = \"model\"\n[[evaluate]]\ndataset = { path = "
                        "\"long.txt\" }\nprotocol = { window = 64 }\n" +
                            stages);
  const std::string run_it = mpirun + "2 " + kronlab_program + " run " + toml + " --store ";
  const auto undisturbed = run_program(run_it + (folder / "undisturbed"));
  BOOST_TEST_REQUIRE(undisturbed.exit_code == 0);
  // Kills the last started rank as soon as the first stage is checkpointed; ends as mpirun ends, with 124 after 10 s
  // more.
  write_file_atomically(folder / "kill.sh", fmt::format(R"sh(
{0} {1} & job=$!
until ls {1}/runs/*/checkpoints/stage-0/DONE >/dev/null 2>&1; do sleep 0.02; kill -0 $job || exit 125; done
for pid in $(pgrep -f "store {1}"); do [ "$(cat /proc/$pid/comm)" = kronlab ] && last=$pid; done
kill -9 $last
for i in $(seq 100); do kill -0 $job 2>/dev/null || {{ wait $job; exit $?; }}; sleep 0.1; done
kill -9 $job; exit 124
)sh",
                                                        run_it, store));
  const auto killed = run_program("bash " + (folder / "kill.sh"));
  BOOST_TEST(killed.exit_code != 0);
  BOOST_TEST((killed.exit_code != 124 && killed.exit_code != 125), killed.exit_code << killed.err);
  const auto list = run_program(program_path("bin/kronlab-report") + " list --store " + store);
  BOOST_TEST(contains(list.out, "interrupted"), list.out);
  const auto resumed = run_program(run_it + store);
  BOOST_TEST(resumed.exit_code == 0);
  BOOST_TEST(contains(resumed.err, "stages were done before"), resumed.err);
  const auto numbers = [](const fs::path& of) { return experiments::numbers_of(fs::directory_iterator(of / "runs")->path()); };
  BOOST_TEST(!numbers(store).empty());
  BOOST_TEST(numbers(store) == numbers(folder / "undisturbed"));
}

BOOST_AUTO_TEST_SUITE_END()
