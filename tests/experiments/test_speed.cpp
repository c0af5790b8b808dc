// The speed of a run's models beside the dense one, in its record and in the tables.
#include <mpi.h>

#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/model_speed.hpp"
#include "experiments/pipeline/student.hpp"
#include "experiments/pipeline/summary_table.hpp"
#include "framework/storage/slowdown.hpp"
#include "tests/experiments/run_fixture.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

const std::string one_stage = R"(
[[stage]]
[[stage.part]]
layers = ["layers.*.mlp.{gate,up}_proj"]
decompose = { kind = "svd", keep = 0.5 }
[[stage.part]]
layers = ["layers.0.self_attn.q_proj"]
decompose = { kind = "svd", truncation = 5 }
)";

std::vector<Metric> speeds_of(const std::filesystem::path& run_folder) {
  auto metrics = storage::RunReader(run_folder).metrics();
  std::erase_if(metrics, [](const Metric& metric) { return !metric.name.starts_with("speed/"); });
  return metrics;
}

std::vector<Metric> with(const std::vector<Metric>& metrics, const std::string& name, Index stage,
                         const std::string& layer = "") {
  std::vector<Metric> found;
  std::ranges::copy_if(metrics, std::back_inserter(found), [&](const Metric& metric) {
    return metric.name == name && metric.stage == stage && metric.layer == layer;
  });
  return found;
}

Metric metric(const std::string& name, double value, const std::string& unit, Index stage,
              const std::string& protocol = "") {
  Metric result;
  result.name = name, result.value = value, result.unit = unit, result.stage = stage, result.protocol = protocol;
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(speed)

BOOST_FIXTURE_TEST_CASE(a_run_records_the_speed_of_its_models_and_layers_beside_dense_ones, Fixture) {
  const auto summary = run(world, "store", one_stage);
  if (!world.is_root()) return;
  const auto metrics = speeds_of(run_folder("store", summary));
  const std::string window = "forward tokens=64 precision=fp32 threads=1",
                    token = "generate tokens=1 precision=fp32 threads=1";
  BOOST_TEST(storage::speed_protocols(metrics) == (std::vector{window, token}), boost::test_tools::per_element());
  for (const auto& ratio : with(metrics, "speed/ratio", -1)) BOOST_TEST(ratio.value == 1.0);
  const auto speeds = with(metrics, "speed/tokens_per_second", 0),
             dense = with(metrics, "speed/dense_tokens_per_second", 0), ratios = with(metrics, "speed/ratio", 0);
  BOOST_TEST_REQUIRE(ratios.size() == 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    BOOST_TEST(speeds[i].value > 0);
    BOOST_TEST(ratios[i].value == speeds[i].value / dense[i].value, boost::test_tools::tolerance(1e-12));
  }
  for (const std::string name : {"speed/seconds", "speed/dense_seconds"}) {
    const auto first = with(metrics, name, 0, "layers.0.mlp.up_proj"),
               other = with(metrics, name, 0, "layers.2.mlp.gate_proj");
    BOOST_TEST_REQUIRE(first.size() == 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      BOOST_TEST(first[i].value > 0);
      BOOST_TEST(first[i].value == other[i].value);  // one shape, one size
      BOOST_TEST(first[i].protocol == (i == 0 ? window : token));
    }
    BOOST_TEST(with(metrics, name, 0, "layers.0.self_attn.q_proj").size() == 2u);
    BOOST_TEST(with(metrics, name, 0, "layers.0.mlp.down_proj").empty());
  }
  const std::string table = summary_table((folder / "store").string(), {summary.id});
  BOOST_TEST(table.find("speed [2]") != std::string::npos, table);
  BOOST_TEST(table.find("1.00x") != std::string::npos, table);
  BOOST_TEST(table.find("[3] " + token) != std::string::npos, table);
}

BOOST_FIXTURE_TEST_CASE(the_dense_model_of_a_teacher_serves_and_a_gpt_too, Gpt2Fixture) {
  auto with_teacher = spec("[[stage]]\nlayers = [\"h.*.mlp.*\"]\ndecompose = { kind = \"rtn\", bits = 4 }\n");
  config::assign(with_teacher.config, "evaluate.0.divergence", config::Value(true));
  config::assign(with_teacher.config, "experiment.precision", config::Value(std::string("bf16")));
  const auto summary = run_experiment(world, with_teacher, {(folder / "s").string(), folder.string(), {}, 1});
  if (!world.is_root()) return;
  const auto metrics = speeds_of(run_folder("s", summary));
  BOOST_TEST(with(metrics, "speed/ratio", 0).size() == 2u);
  BOOST_TEST(with(metrics, "speed/seconds", 0, "h.1.mlp.c_fc").size() == 2u);
}

BOOST_FIXTURE_TEST_CASE(a_run_that_evaluates_nothing_or_compresses_nothing_measures_no_speed, Fixture) {
  const std::string begin = "[experiment]\nname = \"test\"\n[model]\npath = \"model\"\n";
  const std::string evaluate =
      "[[evaluate]]\ndataset = { path = \"e.txt\" }\nprotocol = { window = 32 }\nmax_windows = 2\n";
  const std::string compress = "[[stage]]\nlayers = [\"layers.0.mlp.*\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n";
  const std::string train =
      "[data]\ndistillation = { path = \"c.txt\", window = 16 }\n[[stage]]\n[stage.distill]\nsteps = 1\nbatch_tokens = "
      "32\nmicro_batch = 2\nlr = 1e-3\nlosses = { ce = 1.0 }\n";
  for (const auto& toml : {begin + compress, begin + train + evaluate}) {
    const auto run = config::expand_sweep(config::parse_toml(toml, "test.toml")).front();
    const auto summary = run_experiment(world, run, {(folder / "s").string(), folder.string(), {}, 1});
    if (world.is_root()) BOOST_TEST(speeds_of(run_folder("s", summary)).empty());
  }
}

BOOST_AUTO_TEST_CASE(a_twin_is_the_student_with_dense_weights) {
  if (comm::Communicator(MPI_COMM_WORLD).rank() > 0) return;
  const kronlab::testing::TemporaryFolder folder;
  kronlab::testing::write_tiny_model(folder.path() / "model", kronlab::testing::tiny_llama_config());
  auto student = ModelAccess((folder.path() / "model").string()).load();
  const Tensor left(DType::f32, {64, 2}), right(DType::f32, {2, 32});
  student.replace_layer("layers.1.mlp.up_proj", std::make_shared<decompositions::LowRank>(left.clone(), right.clone()));
  const auto twin = dense_twin(student);
  BOOST_TEST(factors_of(twin).empty());
  BOOST_TEST(twin.num_parameters() == student.num_parameters() + 64 * 32 - 2 * (64 + 32));
  BOOST_TEST(twin.layer("layers.0.mlp.up_proj") == student.layer("layers.0.mlp.up_proj"));
}

BOOST_AUTO_TEST_CASE(a_window_is_as_long_as_the_context_and_shorter_for_large_models) {
  const auto window = [](Index context, Index parameters) {
    return SpeedProtocol::of(context, parameters, model::Precision::fp32, 1).window;
  };
  BOOST_TEST(window(1024, 1'000'000) == 256);
  BOOST_TEST(window(100, 1'000'000) == 100);
  BOOST_TEST(window(2048, 134'515'008) == 64);
  BOOST_TEST(window(2048, 70'000'000'000) == 8);
}

BOOST_AUTO_TEST_CASE(a_model_that_is_smaller_and_slower_is_called_so_and_no_other) {
  const std::string window = "forward tokens=64", token = "generate tokens=1";
  std::vector<Metric> metrics{metric("size/stored_bytes", 1000, "B", -1), metric("speed/ratio", 1, "1", -1, window),
                              metric("speed/ratio", 1, "1", -1, token),   metric("size/stored_bytes", 500, "B", 0),
                              metric("speed/ratio", 0.5, "1", 0, window), metric("speed/ratio", 1.5, "1", 0, token)};
  BOOST_TEST(storage::slowdown_of(metrics) ==
             "50.0 % of the dense model's bytes, but slower: 0.50x (forward tokens=64)");
  metrics.push_back(metric("size/stored_bytes", 250, "B", 1));
  metrics.push_back(metric("speed/ratio", 0.99, "1", 1, window));  // as fast, as far as such a measurement can tell
  BOOST_TEST(storage::slowdown_of(metrics).empty());
  metrics.push_back(metric("speed/ratio", 0.8, "1", 1, token));
  BOOST_TEST(storage::slowdown_of(metrics) ==
             "25.0 % of the dense model's bytes, but slower: 0.80x (generate tokens=1)");
  metrics.push_back(metric("size/stored_bytes", 1000, "B", 2));
  BOOST_TEST(storage::slowdown_of(metrics).empty());
  BOOST_TEST(storage::slowdown_of({}).empty());
}

BOOST_AUTO_TEST_SUITE_END()
