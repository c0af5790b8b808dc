#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

/// Every way to prune and to round, alone, together and beside low rank; what is left in 8 bits; healed at the end.
const std::string all_ways = R"(
[[stage]]
[[stage.part]]
layers = ["layers.0.mlp.*"]
decompose = { kind = "sparsegpt", n = 2, m = 4 }
[[stage.part]]
layers = ["layers.1.mlp.gate_proj"]
decompose = { kind = "magnitude", sparsity = 0.5, scope = "layer" }
[[stage.part]]
layers = ["layers.1.mlp.up_proj"]
decompose = { kind = "wanda", n = 4, m = 8 }
[[stage.part]]
layers = ["layers.1.mlp.down_proj"]
decompose = { kind = "sparsegpt", sparsity = 0.5, bits = 4, group = 16, block = 32 }
[[stage.part]]
layers = ["layers.2.mlp.gate_proj"]
decompose = { kind = "sum", rounds = 2, parts = [ { kind = "whitened-svd", truncation = 3 }, { kind = "sparsegpt", sparsity = 0.75 } ] }
[[stage.part]]
layers = ["layers.2.mlp.{up,down}_proj"]
decompose = { kind = "sum", rounds = 2, parts = [ { kind = "whitened-svd", truncation = 3 }, { kind = "gptq", bits = 3, group = 16 } ] }
[[stage]]
[[stage.part]]
layers = ["layers.*.self_attn.*"]
decompose = { kind = "gptq", bits = 4, group = 16, activation_order = true }
[[stage.part]]
layers = ["embed_tokens"]
decompose = { kind = "rtn", bits = 8 }
)";

const std::string healing =
    "[[stage]]\ndistill = { steps = 2, batch_tokens = 64, micro_batch = 1, losses = { kl = 1.0, ce = 1.0 }, train = "
    "\"factors\", "
    "lr = 1e-3 }\n";

}  // namespace

BOOST_AUTO_TEST_SUITE(pruned_runs)

BOOST_FIXTURE_TEST_CASE(every_way_to_prune_and_to_round_runs_from_toml_with_equal_bits_for_any_number_of_ranks,
                        Fixture) {
  const comm::Communicator alone = world.split(world.rank());
  for (const std::string precision : {"fp32", "bf16"}) {
    auto sequential = spec(all_ways + (precision == "fp32" ? healing : ""));
    config::assign(sequential.config, "data.calibration.sequential", config::Value(true));
    config::assign(sequential.config, "experiment.precision", config::Value(precision));
    const auto together =
        run_experiment(world, sequential, {(folder / ("s" + precision)).string(), folder.string(), {}, 1});
    if (!world.is_root()) continue;
    const auto at = run_folder("s" + precision, together);
    const auto by_one =
        run_experiment(alone, sequential, {(folder / ("t" + precision)).string(), folder.string(), {}, 1});
    const auto at_by_one = run_folder("t" + precision, by_one);
    BOOST_TEST(!numbers_of(at).empty());
    BOOST_TEST(numbers_of(at) == numbers_of(at_by_one));
    for (const int stage : {0, 1}) BOOST_TEST(factors_of(at, stage) == factors_of(at_by_one, stage));
    const auto plan =
        CompressionPlan::make(ExperimentSpec::read(sequential.config, folder.string()), testing::tiny_llama_config());
    for (const std::size_t stage : {0, 1}) {
      const auto stored =
          read_factors((at / "checkpoints" / fmt::format("stage-{}", stage) / "factors.safetensors").string());
      BOOST_TEST(plan.stages[stage].layers.size() == (stage == 0 ? 9U : 13U));
      for (const auto& layer : plan.stages[stage].layers) {
        const auto factorization = decompositions::make_factorization(decompositions::copy_of(stored.at(layer.name)));
        BOOST_TEST(factorization->num_parameters() == layer.parameters_after, layer.name);
        // Scales that have learned are no half-precision numbers any more.
        if (precision == "bf16" || stage == 0)
          BOOST_TEST(factorization->stored_bytes() == layer.bytes_after, layer.name);
      }
    }
    for (const auto& m : storage::RunReader(at).metrics("eval/perplexity")) BOOST_TEST(m.value > 1.0);
    for (const auto& layer : storage::RunReader(at).layers()) BOOST_TEST(layer.relative_error < 1.0);
  }
}

BOOST_FIXTURE_TEST_CASE(a_permutation_and_a_pattern_that_does_not_divide_are_refused_before_any_work, Fixture) {
  const auto refused = [&](const std::string& part, const std::string& expected) {
    const auto message =
        testing::message_of([&] { run(world, "refused", "[[stage]]\nlayers = [\"layers.*.mlp.*\"]\n" + part); });
    BOOST_TEST(message.find(expected) != std::string::npos, message);
  };
  refused("decompose = { kind = \"wanda\", n = 2, m = 5 }\n",
          "the 32 columns of `layers.0.mlp.gate_proj` are not divisible by m (5)");
  refused("decompose = { kind = \"rtn\", bits = 4 }\npermute = { kind = \"norm-sort\" }\n",
          "'rtn' gains nothing from a permutation");
  refused("decompose = { kind = \"rtn\", bits = 4, group = 16 }\npermute = { kind = \"norm-sort\", weighting = \"inputs\" }\n",
          "a search for 'rtn' sees the ranges of the weight as it is: leave out weighting");
}

BOOST_AUTO_TEST_SUITE_END()
