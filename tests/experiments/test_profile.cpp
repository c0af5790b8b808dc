// `kronlab profile`: of a machine, and what `kronlab check` makes of its file; of a model.
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "experiments/pipeline/machine_rates.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/program.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::contains;
using kronlab::testing::program_path;
using kronlab::testing::run_program;
using nlohmann::json;

namespace {

struct Files {
  kronlab::testing::TemporaryFolder folder;
  std::string machine = folder / "machine.toml";
  std::string check = program_path("bin/kronlab") + " check " + folder / "e.toml" + " --store " + folder / "store";

  Files() {
    kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_llama_config());
    write_file_atomically(folder / "e.toml", "[experiment]\nname = \"e\"\n[model]\npath = \"model\"\n[[evaluate]]\n"
                                             "dataset = { path = \"e.txt\" }\nprotocol = { window = 32 }\n"
                                             "[[stage]]\nlayers = [\"layers.1.mlp.*\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n");
    write_file_atomically(folder / "e.txt", kronlab::testing::nonsense(400, 2));
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(profile)

BOOST_FIXTURE_TEST_CASE(rates_of_two_ranks_are_written_beside_what_the_file_had_and_are_used, Files) {
  write_file_atomically(machine, "[slurm]\npartition = \"big\"\n[rates]\nnetwork_gb_s = 1e-3\n");
  const std::string profile = program_path("bin/kronlab") + " profile --out " + machine + " --scratch " + folder.path().string();
  const auto measured = run_program("mpirun --oversubscribe --bind-to none -n 2 " + profile);
  BOOST_TEST_REQUIRE(measured.exit_code == 0, measured.err);
  BOOST_TEST(contains(read_text_file(machine), "partition = \"big\""));
  const auto rates = MachineRates::read(machine);
  const MachineRates assumed;
  BOOST_TEST(rates.network_gb_s > 0.01);
  BOOST_TEST(rates.network_latency_us != assumed.network_latency_us);
  BOOST_TEST(rates.gemm_fp32_gflops > 1);
  BOOST_TEST(rates.gemm_fp64_gflops < 2 * rates.gemm_fp32_gflops);
  BOOST_TEST(rates.decompose_gmacs.at("svd") > 0);
  BOOST_TEST(rates.search_gmacs.at("portfolio") > 0);
  const std::filesystem::directory_iterator left(folder.path()), end;
  BOOST_TEST(std::distance(left, end) == 4);  // nothing of what it wrote besides
  const auto words = run_program(check + " --machine " + machine);
  BOOST_TEST_REQUIRE(words.exit_code == 0, words.err);
  BOOST_TEST(contains(words.out, "at the rates of '" + machine + "'"), words.out);
}

BOOST_FIXTURE_TEST_CASE(without_a_machine_the_rates_are_said_to_be_assumed_and_cores_share_the_work, Files) {
  const auto words = run_program(check);
  BOOST_TEST(contains(words.out, "on 1 rank(s) of 1 core(s), at assumed rates of an ordinary cluster"), words.out);
  BOOST_TEST(contains(words.out, "kronlab profile --out FILE.toml"));
  const auto estimate = [&](const std::string& options) { return json::parse(run_program(check + " --json " + options).out).at("runs").at(0).at("estimate"); };
  const auto one = estimate(""), four = estimate("--threads 4");
  BOOST_TEST(one.at("limits").empty());
  BOOST_TEST(one.at("parts").at(1).at("part") == "evaluation");
  BOOST_TEST(one.at("parts").at(1).at("seconds").get<double>() == 4 * four.at("parts").at(1).at("seconds").get<double>(), boost::test_tools::tolerance(1e-9));
  BOOST_TEST(estimate("--ranks 8").at("moved_bytes").get<double>() > 0);
}

BOOST_FIXTURE_TEST_CASE(a_models_layers_are_profiled_shown_and_not_measured_again, Files) {
  const std::string store = folder / "store", file = folder / "s.toml";
  const std::string sweep = "[experiment]\nname = \"profile\"\n[model]\npath = \"model\"\n[[stage]]\nlayers = [\"layers.*.mlp.*\"]\n"
                            "decompose = { kind = \"svd\", keep = 0.5 }\n";
  write_file_atomically(file, sweep);
  const auto without = run_program(program_path("bin/kronlab") + " profile " + file + " --store " + store);
  BOOST_TEST(without.exit_code == 2);
  BOOST_TEST(contains(without.err, "has no stage whose layers are measured alone: give [stage.sensitivity]"), without.err);
  write_file_atomically(file, sweep + "sensitivity = { path = \"e.txt\", tokens = 64, window = 16 }\n[[sweep.variants]]\nname = \"half\"\n"
                                      "[[sweep.variants]]\nname = \"quarter\"\n\"stage.0.decompose.keep\" = 0.25\n");
  const auto planned = json::parse(run_program(program_path("bin/kronlab") + " check --json " + file + " --store " + store).out);
  const auto& parts = planned.at("runs").at(0).at("estimate").at("parts");
  const auto part = std::ranges::find_if(parts, [](const json& p) { return p.at("part") == "sensitivity"; });
  BOOST_TEST_REQUIRE((part != parts.end()));
  BOOST_TEST(part->at("seconds").get<double>() > 0);
  const auto first = run_program(program_path("bin/kronlab") + " profile " + file + " --store " + store);
  BOOST_TEST_REQUIRE(first.exit_code == 0, first.err);
  BOOST_TEST(contains(first.err, "sensitivity of 9 unit(s), 0 known from before"), first.err);
  BOOST_TEST(contains(first.err, "each alone, KL in nat/token: "), first.err);
  BOOST_TEST(contains(first.out, "2 of 2 run(s) done (0 before)"), first.out);
  BOOST_TEST(contains(run_program(program_path("bin/kronlab") + " profile " + file + " --store " + store).out, "(2 before)"));
  const auto map = run_program(program_path("bin/kronlab-report") + " plot --terminal --heat-map sensitivity/kl --store " + store);
  BOOST_TEST(map.exit_code == 0, map.err);
  BOOST_TEST(contains(map.out, "sensitivity/kl [nat/token]"), map.out);
}

BOOST_FIXTURE_TEST_CASE(a_machine_file_without_rates_and_a_folder_that_is_not_there_are_refused, Files) {
  write_file_atomically(machine, "[slurm]\npartition = \"big\"\n");
  const auto no_rates = run_program(check + " --machine " + machine);
  BOOST_TEST(no_rates.exit_code == 2);
  BOOST_TEST(contains(no_rates.err, "no [rates]: measure them with `kronlab profile"), no_rates.err);
  const auto no_folder = run_program(program_path("bin/kronlab") + " profile --scratch /nowhere/at-all");
  BOOST_TEST(no_folder.exit_code == 1);
  BOOST_TEST(contains(no_folder.err, "/nowhere/at-all"), no_folder.err);
}

BOOST_AUTO_TEST_SUITE_END()
