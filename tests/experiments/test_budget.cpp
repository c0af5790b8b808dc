// `kronlab budget` from a profile to the run of its plan.
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "experiments/pipeline/known_cells.hpp"
#include "framework/base/hash.hpp"
#include "framework/storage/run_index.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/program.hpp"
#include "tests/support/test_data.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using kronlab::testing::contains;
using kronlab::testing::program_path;
using kronlab::testing::run_program;
using nlohmann::json;

namespace {

struct Files {
  kronlab::testing::TemporaryFolder folder;
  std::string toml = folder / "e.toml", store = folder / "store", plan = folder / "plan.toml";

  Files() {
    kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_llama_config());
    write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(400, 2));
    write("bytes = 0.6\n");
  }
  void write(const std::string& budget, const std::string& more = "") const {
    write_file_atomically(toml,
                          "[experiment]\nname = \"profile\"\n[model]\npath = \"model\"\n[[stage]]\nlayers = "
                          "[\"layers.*.mlp.*\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n"
                          "sensitivity = { path = \"e.txt\", tokens = 128, window = 32 }\n" +
                              (budget.empty() ? "" : "[budget]\n" + budget) +
                              "[sweep]\nseeds = [0, 1]\n\"stage.0.decompose.keep\" = [0.3, 0.7]\n" + more);
  }
  kronlab::testing::ProgramOutput kronlab(const std::string& command, const std::string& file,
                                          const std::string& options = "") const {
    return run_program(
        fmt::format("{} {} {} --store {} {}", program_path("bin/kronlab"), command, file, store, options));
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(budget_command)

BOOST_FIXTURE_TEST_CASE(what_a_profile_measured_becomes_a_plan_that_check_prints_and_run_runs, Files) {
  const auto early = kronlab("budget", toml);
  BOOST_TEST(early.exit_code == 2);
  BOOST_TEST(contains(early.err, "is new, not done: `kronlab profile` measures it"), early.err);
  const auto profiled = kronlab("run", toml);
  BOOST_TEST_REQUIRE(profiled.exit_code == 0, profiled.err);
  const auto made = kronlab("budget", toml, "--out " + plan);
  BOOST_TEST_REQUIRE(made.exit_code == 0, made.err);
  for (const char* words :
       {"predicted KL", "dense", "greedy", "uniform", "no allocation is below", "block", "plan written to"})
    BOOST_TEST(contains(made.out, words), made.out);
  const auto in_json = json::parse(kronlab("budget", toml, "--json").out);
  BOOST_TEST(in_json.at("plan") == read_text_file(plan));
  const auto& allocations = in_json.at("allocations");
  BOOST_TEST(allocations.at("best").at("bytes").get<double>() <=
             0.6 * allocations.at("dense").at("bytes").get<double>());
  BOOST_TEST(allocations.at("best").at("predicted_kl").get<double>() <=
             allocations.at("uniform").at("predicted_kl").get<double>());
  BOOST_TEST(in_json.at("units").size() == 9u);

  const auto checked = kronlab("check", plan);
  BOOST_TEST_REQUIRE(checked.exit_code == 0, checked.err);
  const auto run = kronlab("run", plan);
  BOOST_TEST_REQUIRE(run.exit_code == 0, run.err);
  BOOST_TEST(contains(run.err, "predicted KL "), run.err);
  for (const auto& entry : storage::indexed_runs(store)) {
    if (entry.name != "profile plan") continue;
    const storage::RunReader reader(entry.folder);
    const auto predicted = reader.metrics("budget/predicted_kl"), measured = reader.metrics("divergence/kl");
    BOOST_TEST_REQUIRE(predicted.size() == 1u);
    BOOST_TEST(predicted[0].value == allocations.at("best").at("predicted_kl").get<double>());
    BOOST_TEST(predicted[0].unit == "nat/token");
    BOOST_TEST(measured.front().value > 0);
  }
}

BOOST_FIXTURE_TEST_CASE(a_file_without_a_budget_or_a_profile_is_refused, Files) {
  write("");
  const auto no_budget = kronlab("budget", toml);
  BOOST_TEST(no_budget.exit_code == 2);
  BOOST_TEST(contains(no_budget.err, "there is no [budget]"), no_budget.err);
  write("bytes = 0.6\n", "\"model.head\" = [\"as-is\", \"untied\"]\n");
  const auto two_models = kronlab("budget", toml);
  BOOST_TEST(two_models.exit_code == 2);
  BOOST_TEST(contains(two_models.err, "in more than its methods"), two_models.err);
  write_file_atomically(folder / "f.toml",
                        "[experiment]\nname = \"e\"\n[model]\npath = \"model\"\n[budget]\nbytes = 0.5\n");
  const auto no_profile = kronlab("budget", folder / "f.toml");
  BOOST_TEST(no_profile.exit_code == 2);
  BOOST_TEST(contains(no_profile.err, "does not measure its layers alone: give [stage.sensitivity]"), no_profile.err);
  const auto help = run_program(program_path("bin/kronlab") + " --help");
  BOOST_TEST(contains(help.out, "  budget "), help.out);
}

BOOST_AUTO_TEST_SUITE_END()
