// A model of LLaMA-2 70B's shape whose file has the size and no content: what is not needed is not read.
#include <sys/resource.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "experiments/pipeline/model_access.hpp"
#include "framework/base/progress.hpp"
#include "tests/bench/measurement.hpp"
#include "tests/experiments/large_models.hpp"
#include "tests/experiments/sparse_model.hpp"
#include "tests/support/program.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::run_program;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

struct SparseModel {
  kronlab::testing::TemporaryFolder folder;
  model::ModelConfig config = kronlab::testing::llama2_70b();

  SparseModel() {
    kronlab::testing::write_sparse_model(folder.path() / "model", config);
    write_file_atomically(folder / "e.toml", R"([experiment]
name = "large"
[model]
path = "model"
[data]
calibration = { path = "c.txt", tokens = 131072 }
[[stage]]
layers = ["layers.*.mlp.*"]
decompose = { kind = "whitened-svd", keep = 0.5 }
)");
  }
};

double children_peak_mib() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(large_models)

BOOST_FIXTURE_TEST_CASE(opening_70_billion_parameters_and_reading_two_layers_takes_their_memory_and_no_more, SparseModel) {
  BOOST_TEST(fs::file_size(folder.path() / "model" / "model.safetensors") > 137'000'000'000u);
  const double before_mib = bench::peak_memory().mib, started = now_s();
  const ModelAccess access((folder.path() / "model").string());
  BOOST_TEST(access.config().num_blocks == 80);
  BOOST_TEST(access.files().tensors().tensors().size() == model::tensor_shapes(config).size());
  BOOST_TEST(bench::peak_memory().mib - before_mib < 32);
  for (const char* name : {"layers.3.self_attn.k_proj.weight", "layers.79.self_attn.v_proj.weight"}) {
    const Tensor weight = access.files().tensors().load(name);  // 1024 x 8192 in float32: 32 MiB
    BOOST_TEST(weight.shape() == (std::vector<Index>{1024, 8192}), boost::test_tools::per_element());
  }
  BOOST_TEST(bench::peak_memory().mib - before_mib < 2 * 32 + 2 * 16 + 32);
  BOOST_TEST(now_s() - started < 20);
}

BOOST_FIXTURE_TEST_CASE(check_of_70_billion_parameters_on_a_thousand_ranks_takes_seconds_and_mebibytes, SparseModel) {
  const double started = now_s();
  const auto output = run_program(kronlab::testing::program_path("bin/kronlab") + " check --json --no-cells --ranks 1024 " + folder / "e.toml");
  BOOST_TEST(now_s() - started < 20);
  BOOST_TEST(children_peak_mib() < 256);
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  const auto plan = json::parse(output.out);
  BOOST_TEST(plan.at("ranks") == 1024);
  const auto& run = plan.at("runs").at(0);
  BOOST_TEST(run.at("cell").is_null());
  BOOST_TEST(run.at("estimate").at("read_bytes").get<double>() == 1025 * 2 * run.at("teacher").at("parameters").get<double>());
  BOOST_TEST(run.at("memory_bytes_per_rank").get<double>() > 4 * run.at("teacher").at("parameters").get<double>());
}

BOOST_AUTO_TEST_SUITE_END()
