#include <mpi.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>

#include "experiments/pipeline/factors_file.hpp"
#include "experiments/pipeline/finished_run.hpp"
#include "experiments/pipeline/hidden_units.hpp"
#include "experiments/pipeline/stage_checkpoint.hpp"
#include "framework/storage/array_file.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

namespace fs = std::filesystem;
using kronlab::testing::message_of;

const std::string absorbed = R"([[stage]]
layers = ["h.{0,1}.mlp.*"]
decompose = { kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 3, weighting = "two-sided", refit = 2 }
permute = { kind = "anneal", weighting = "two-sided", num_starts = 2, num_temperatures = 2, num_sweeps = 1, absorb = true }
)";

model::Transformer model_of(const model::ModelConfig& config, const fs::path& folder) {
  kronlab::testing::write_tiny_model(folder, config);
  return model::Transformer::load(config, storage::ModelFiles::open(folder.string())->tensors());
}

Matrix<double> outputs(const model::Transformer& model) {
  constexpr Index length = 16;
  std::vector<std::int32_t> ids;
  for (Index i = 0; i < length; ++i) ids.push_back(static_cast<std::int32_t>(7 * i % 50));
  model::Workspace workspace(model::Precision::fp64);
  Tensor stream = Tensor::uninitialised(DType::f64, {length, model.config().width});
  model.embed(ids, length, stream.view());
  for (Index block = 0; block < model.config().num_blocks; ++block) model.run_block(block, length, stream.view(), workspace);
  return to_matrix<double>(stream.view());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(hidden_units)

BOOST_AUTO_TEST_CASE(a_model_computes_the_same_with_its_hidden_units_in_another_order) {
  for (const auto& config : {kronlab::testing::tiny_gpt2_config(), kronlab::testing::tiny_llama_config()}) {
    const kronlab::testing::TemporaryFolder folder;
    const auto before = model_of(config, folder.path() / "model");
    auto after = before.share();
    Index hidden = 0;
    for (const auto& layer : before.layers()) {
      if (layer.block == 1 && layer.site == model::InputSite::mlp_hidden) hidden = layer.cols;
    }
    const auto order = RandomStream(1).permutation(hidden);
    const auto biases = move_hidden_units(after, 1, order);
    BOOST_TEST(biases.size() == (config.architecture == model::Architecture::gpt2 ? 1u : 0u));
    const auto a = outputs(before), b = outputs(after);
    double largest = 0, difference = 0;
    for (Index i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::abs(a.data()[i]));
      difference = std::max(difference, std::abs(a.data()[i] - b.data()[i]));
    }
    BOOST_TEST(difference <= 1e-12 * largest);  // sums of some hundred products in double in another sequence
    BOOST_TEST(difference > 0);
  }
}

BOOST_FIXTURE_TEST_CASE(absorbed_orders_need_no_gather_and_are_bit_equal_for_any_number_of_ranks, Gpt2Fixture) {
  const comm::Communicator alone = world.split(world.rank());
  const auto together = run(world, "together", absorbed);
  if (!world.is_root()) return;
  const auto by_one = run(alone, "by_one", absorbed);
  const auto a = run_folder("together", together), b = run_folder("by_one", by_one);
  BOOST_TEST(numbers_of(a) == numbers_of(b));
  BOOST_TEST(factors_of(a, 0) == factors_of(b, 0));
  const auto factors = read_factors(factors_path(a, 0).string());
  BOOST_TEST(factors.size() == 4u);
  for (const auto& [layer, parts] : factors) BOOST_TEST(parts.kind == "scaled", layer << " is " << parts.kind);
  const storage::ArrayReader arrays((a / "arrays.h5").string());
  const auto rows = arrays.read_i64("stages/0/layers/h.0.mlp.c_fc/permutation/rows");
  BOOST_TEST((rows == arrays.read_i64("stages/0/layers/h.0.mlp.c_proj/permutation/columns")));
  BOOST_TEST(!std::ranges::is_sorted(rows));
  BOOST_TEST(std::ranges::is_sorted(arrays.read_i64("stages/0/layers/h.0.mlp.c_fc/permutation/columns")));
}

BOOST_FIXTURE_TEST_CASE(rounded_groups_gain_from_an_order_of_hidden_units_that_costs_nothing, Gpt2Fixture) {
  const std::string plain = "[[stage]]\nlayers = [\"h.{0,1}.mlp.*\"]\ndecompose = { kind = \"rtn\", bits = 3, group = 8 }\n";
  const auto without = run(world, "plain", plain);
  const auto with = run(world, "absorbed", plain + "permute = { kind = \"swap-descent\", absorb = true }\n");
  if (!world.is_root()) return;
  const auto before = storage::RunReader(run_folder("plain", without)).layers(), after = storage::RunReader(run_folder("absorbed", with)).layers();
  BOOST_TEST_REQUIRE(before.size() == after.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    BOOST_TEST(after[i].bytes_after == before[i].bytes_after);
    const bool is_behind = after[i].layer.ends_with("c_proj");  // whose columns they are
    if (is_behind) BOOST_TEST(after[i].relative_error < before[i].relative_error);
    if (!is_behind) BOOST_TEST(std::abs(after[i].relative_error - before[i].relative_error) < 1e-6);
  }
}

BOOST_FIXTURE_TEST_CASE(a_run_that_is_opened_again_has_its_biases_where_its_hidden_units_are, Gpt2Fixture) {
  // The second stage changes nothing else: what the first one moved must outlive it.
  const auto summary = run(world, "store", absorbed + "[[stage]]\nlayers = [\"h.0.attn.c_proj\"]\ndecompose = { kind = \"svd\", truncation = 4 }\n");
  if (!world.is_root()) return;
  const auto finished = FinishedRun::open((folder / "store").string(), summary.id);
  const auto bias_of = [](const model::Transformer& model) {
    for (const auto& [name, tensor] : model.other_tensors()) {
      if (name == "h.0.mlp.c_fc.bias") return to_matrix<double>(tensor->view());
    }
    return Matrix<double>();
  };
  const auto dense = bias_of(model_of(kronlab::testing::tiny_gpt2_config(), folder / "again")), now = bias_of(finished.student);
  const storage::ArrayReader arrays((run_folder("store", summary) / "arrays.h5").string());
  const auto order = arrays.read_i64("stages/0/layers/h.0.mlp.c_fc/permutation/rows");
  BOOST_TEST_REQUIRE(now.size() == static_cast<Index>(order.size()));
  for (std::size_t i = 0; i < order.size(); ++i) BOOST_TEST(now.data()[i] == dense.data()[order[i]]);
}

BOOST_FIXTURE_TEST_CASE(layers_whose_order_is_not_free_are_refused, Gpt2Fixture) {
  const auto refused = [&](std::string toml, const std::string& from, const std::string& to) {
    toml.replace(toml.find(from), from.size(), to);
    return message_of([&] { run(world, "refused", toml); });
  };
  BOOST_TEST(refused(absorbed, "mlp.*", "mlp.c_fc").find("`h.0.mlp.c_fc` has the same hidden units as `h.0.mlp.c_proj`") != std::string::npos);
  BOOST_TEST(refused(absorbed, "mlp.*", "attn.c_proj").find("is not beside the hidden units") != std::string::npos);
  auto sequential = spec(absorbed);
  config::assign(sequential.config, "data.calibration.sequential", config::Value(true));
  const std::string message = message_of([&] { run_experiment(world, sequential, {(folder / "refused").string(), folder.string(), {}, 1}); });
  BOOST_TEST(message.find("absorb = true with sequential calibration") != std::string::npos, message);
}

BOOST_AUTO_TEST_SUITE_END()
