#include <mpi.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "framework/storage/array_file.hpp"
#include "tests/experiments/run_fixture.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;

namespace {

namespace fs = std::filesystem;

const std::string two_stages = R"(
[[stage]]
[[stage.part]]
layers = ["layers.*.mlp.*"]
decompose = { kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 3 }
permute = { kind = "anneal", weighting = "inputs", num_starts = 3, num_temperatures = 2, num_sweeps = 1 }
[[stage.part]]
layers = ["layers.0.self_attn.{q,k,v,o}_proj"]
decompose = { kind = "whitened-svd", keep = 0.6 }
[[stage.part]]
layers = ["layers.2.self_attn.q_proj"]
decompose = { kind = "interpolative", keep = 0.6, weighting = "inputs" }
[[stage]]
layers = ["layers.1.self_attn.q_proj"]
decompose = { kind = "svd", truncation = 5 }
)";

}  // namespace

BOOST_AUTO_TEST_SUITE(run_experiments)

BOOST_FIXTURE_TEST_CASE(factors_and_numbers_are_bit_equal_for_any_number_of_ranks, Fixture) {
  const comm::Communicator alone = world.split(world.rank());
  const auto together = run(world, "together", two_stages);
  if (world.is_root()) {
    const auto by_one = run(alone, "by_one", two_stages);
    const auto a = run_folder("together", together), b = run_folder("by_one", by_one);
    BOOST_TEST(!numbers_of(a).empty());
    BOOST_TEST(numbers_of(a) == numbers_of(b));
    for (const int stage : {0, 1}) BOOST_TEST(factors_of(a, stage) == factors_of(b, stage));
    BOOST_TEST(storage::RunReader(a).description().cell == storage::RunReader(b).description().cell);
  }
}

BOOST_FIXTURE_TEST_CASE(sequential_calibration_too, Fixture) {
  const comm::Communicator alone = world.split(world.rank());
  std::string numbers_without_match;
  for (const bool matches : {false, true}) {
    auto sequential = spec(two_stages);
    config::assign(sequential.config, "data.calibration.sequential", config::Value(true));
    config::assign(sequential.config, "data.calibration.match_outputs", config::Value(matches));
    const auto together = run_experiment(world, sequential, {(folder / "s").string(), folder.string(), {}, 1});
    if (!world.is_root()) continue;
    const auto by_one = run_experiment(alone, sequential, {(folder / "t").string(), folder.string(), {}, 1});
    const std::string numbers = numbers_of(run_folder("s", together));
    BOOST_TEST(numbers == numbers_of(run_folder("t", by_one)));
    BOOST_TEST(factors_of(run_folder("s", together), 1) == factors_of(run_folder("t", by_one), 1));
    BOOST_TEST(numbers != numbers_without_match);
    numbers_without_match = numbers;
  }
}

BOOST_FIXTURE_TEST_CASE(small_groups_of_blocks_change_nothing, Fixture) {
  auto small = spec(two_stages);
  config::assign(small.config, "data.calibration.memory_mb", config::Value(Index{1}));
  const auto a = run_experiment(world, small, {(folder / "a").string(), folder.string(), {}, 1});
  const auto b = run(world, "b", two_stages);
  if (world.is_root()) BOOST_TEST(numbers_of(run_folder("a", a)) == numbers_of(run_folder("b", b)));
}

BOOST_FIXTURE_TEST_CASE(layers_above_a_size_are_decomposed_by_all_ranks_together_to_the_same_errors, Fixture) {
  const std::string refused = kronlab::testing::message_of(
      [&] { run(world, "refused", two_stages + "[parallel]\ndistribute_above = 2000\n"); });
  BOOST_TEST(refused.find("has no distributed form") != std::string::npos, refused);
  for (const std::string weighting : {"inputs", "two-sided"}) {
    const std::string stages = fmt::format(
        "[[stage]]\nlayers = [\"layers.1.mlp.*\"]\ndecompose = {{ kind = \"whitened-svd\", keep = 0.5, weighting = "
        "\"{}\" }}\n",
        weighting);
    const auto local = run(world, "local " + weighting, stages);
    const auto together = run(world, "together " + weighting, stages + "[parallel]\ndistribute_above = 2000\n");
    if (!world.is_root()) continue;
    const auto expected = storage::RunReader(run_folder("local " + weighting, local)).layers();
    const auto found = storage::RunReader(run_folder("together " + weighting, together)).layers();
    BOOST_TEST_REQUIRE(found.size() == 3u);
    for (std::size_t i = 0; i < found.size(); ++i) {  // factors are rounded to float32
      BOOST_TEST(std::abs(found[i].relative_error - expected[i].relative_error) < 1e-6);
      BOOST_TEST(std::abs(*found[i].weighted_error - *expected[i].weighted_error) < 1e-6);
    }
  }
}

BOOST_FIXTURE_TEST_CASE(a_permutation_search_sees_the_gradient_where_it_shall, Fixture) {
  std::vector<double> kept;
  for (const std::string weighting : {"inputs", "two-sided"}) {
    const auto summary = run(world, weighting, fmt::format(R"(
[[stage]]
layers = ["layers.1.mlp.*"]
decompose = {{ kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 4 }}
permute = {{ kind = "norm-sort", weighting = "{}" }}
)", weighting));
    if (!world.is_root()) continue;
    for (const auto& layer : storage::RunReader(run_folder(weighting, summary)).layers()) kept.push_back(*layer.search_value);
  }
  if (!world.is_root()) return;
  BOOST_TEST_REQUIRE(kept.size() == 6u);
  for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(kept[i] != kept[i + 3]);
}

BOOST_FIXTURE_TEST_CASE(a_sum_is_as_large_as_planned_and_one_of_its_factors_is_decomposed_again, Fixture) {
  const std::string stages = R"(
[[stage]]
layers = ["layers.1.mlp.*"]
decompose = { kind = "sum", rounds = 2, parts = [ { kind = "whitened-svd", keep = 0.25, weighting = "two-sided" }, { kind = "kronecker", right_rows = 2, right_cols = 4, permute = { kind = "swap-descent", weighting = "two-sided" } } ] }
[[stage]]
layers = ["layers.1.mlp.up_proj.part1.left"]
decompose = { kind = "svd", truncation = 3 }
)";
  const auto summary = run(world, "sum", stages);
  if (!world.is_root()) return;
  const auto at = run_folder("sum", summary);
  const auto read = spec(stages);
  const auto plan = CompressionPlan::make(ExperimentSpec::read(read.config, folder.string()), kronlab::testing::tiny_llama_config());
  const auto stored = [&](const char* stage) { return read_factors((at / "checkpoints" / stage / "factors.safetensors").string()); };
  const auto first = stored("stage-0"), last = stored("stage-1");
  for (const auto& layer : plan.stages[0].layers) {
    const auto factorization = decompositions::make_factorization(decompositions::copy_of(first.at(layer.name)));
    BOOST_TEST(factorization->num_parameters() == layer.parameters_after);
    BOOST_TEST(factorization->stored_bytes() == layer.bytes_after);
  }
  const auto& permuted = last.at("layers.1.mlp.up_proj").children.at("part1");
  BOOST_TEST(permuted.children.at("inner").children.at("left").kind == "low-rank");
  for (const auto& m : storage::RunReader(at).metrics("eval/perplexity")) BOOST_TEST(m.value > 1.0);
}

BOOST_FIXTURE_TEST_CASE(tensor_networks_are_bit_equal_for_any_number_of_ranks_and_a_size_that_was_bounded_is_recorded_as_it_is, Fixture) {
  const std::string stages = R"(
[[stage]]
[[stage.part]]
layers = ["embed_tokens"]
decompose = { kind = "tensor-train-embedding", form = "table", keep = 0.5 }
[[stage.part]]
layers = ["layers.*.mlp.*"]
decompose = { kind = "mpo", num_sites = 2, keep = 0.4, weighting = "inputs" }
permute = { kind = "swap-descent", weighting = "inputs" }
[[stage.part]]
layers = ["layers.*.self_attn.q_proj"]
decompose = { kind = "mpo", num_sites = 2, weighting = "two-sided", whitening = "separable", truncation_error = 0.5 }
[[stage]]
layers = ["layers.1.self_attn.o_proj"]
decompose = { kind = "tensor-train-embedding", form = "token", num_sites = 2, bond_dimension = 2 }
)";
  const comm::Communicator alone = world.split(world.rank());
  const auto together = run(world, "together", stages);
  if (!world.is_root()) return;
  const auto at = run_folder("together", together), alone_at = run_folder("alone", run(alone, "alone", stages));
  BOOST_TEST(numbers_of(at) == numbers_of(alone_at));
  for (const int stage : {0, 1}) BOOST_TEST(factors_of(at, stage) == factors_of(alone_at, stage));
  const storage::RunReader reader(at);
  const auto read = spec(stages);
  const auto plan = CompressionPlan::make(ExperimentSpec::read(read.config, folder.string()), kronlab::testing::tiny_llama_config());
  Index saved = 0, bound = 0;
  for (const auto& layer : reader.layers()) saved += layer.parameters_before - layer.parameters_after;
  for (const auto& stage : plan.stages) {
    for (const auto& layer : stage.layers) bound += layer.parameters_before - layer.parameters_after;
  }
  BOOST_TEST((plan.stages[0].after.is_bound && plan.stages[1].after.is_bound));
  BOOST_TEST(saved > bound);
  BOOST_TEST(reader.metrics("size/parameters").back().value == static_cast<double>(plan.dense.parameters - saved));
  const storage::ArrayReader arrays((at / "arrays.h5").string());
  BOOST_TEST(arrays.read_f64("stages/0/layers/layers.0.mlp.up_proj/discarded_weights").size() == 1u);
  BOOST_TEST(arrays.read_f64("stages/0/layers/embed_tokens/discarded_weights").size() == 2u);
}

BOOST_FIXTURE_TEST_CASE(a_run_is_not_done_twice_and_one_that_stopped_goes_on_after_its_last_stage, Fixture) {
  const auto first = run(world, "store", two_stages);
  BOOST_TEST(!first.was_done_before);
  const auto again = run(world, "store", two_stages);
  BOOST_TEST(again.was_done_before);
  BOOST_TEST(again.id == first.id);
  const auto at = run_folder("store", first);
  std::string numbers, factors;
  fs::file_time_type untouched;
  if (world.is_root()) {  // as if it had been killed in stage 1
    numbers = numbers_of(at), factors = factors_of(at, 1);
    untouched = fs::last_write_time(at / "checkpoints" / "stage-0" / "factors.safetensors");
    storage::RunStore::open((folder / "store").string(), first.id).set_state(storage::RunState::interrupted, "test");
    fs::remove_all(at / "checkpoints" / "stage-1");
    fs::remove(at / "arrays.h5");
  }
  world.barrier();
  const auto resumed = run(world, "store", two_stages);
  BOOST_TEST(resumed.id == first.id);
  BOOST_TEST(!resumed.was_done_before);
  if (!world.is_root()) return;
  BOOST_TEST(numbers_of(at) == numbers);
  BOOST_TEST(factors_of(at, 1) == factors);
  BOOST_TEST((fs::last_write_time(at / "checkpoints" / "stage-0" / "factors.safetensors") == untouched));
  BOOST_TEST((storage::RunReader(at).status().state == storage::RunState::done));
  BOOST_TEST(fs::exists(at / "arrays.h5"));
}

BOOST_FIXTURE_TEST_CASE(a_wrong_baseline_stops_the_run_and_is_recorded_with_both_numbers, Fixture) {
  auto wrong = spec(two_stages);
  config::assign(wrong.config, "evaluate.0.expect_dense", config::Value(3.0));
  const auto message = kronlab::testing::message_of([&] {
    run_experiment(world, wrong, {(folder / "w").string(), folder.string(), {}, 1});
  });
  BOOST_TEST(message.find("expected 3.0000") != std::string::npos);
  if (!world.is_root()) return;
  const auto runs = storage::indexed_runs((folder / "w").string());
  BOOST_TEST_REQUIRE(runs.size() == 1u);
  const auto status = storage::RunReader(runs[0].folder).status();
  BOOST_TEST((status.state == storage::RunState::failed));
  BOOST_TEST(status.reason.find("expected 3.0000") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(tqcompressors_steps_with_nested_embedding_and_untied_head, Gpt2Fixture) {
  auto tq = spec(R"(
[[stage]]
layers = ["wte"]
decompose = { kind = "kronecker", right_rows = 1, right_cols = 2 }
permute = { kind = "swap-descent" }
[[stage]]
layers = ["h.1.mlp.c_fc", "h.1.attn.c_attn[*]"]
decompose = { kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 4 }
permute = { kind = "norm-sort" }
[[stage]]
layers = ["wte.left"]
decompose = { kind = "kronecker", right_rows = 1, right_cols = 2 }
permute = { kind = "random" }
)");
  config::assign(tq.config, "model.head", config::Value("untied"));
  const auto summary = run_experiment(world, tq, {(folder / "tq").string(), folder.string(), {}, 1});
  if (!world.is_root()) return;
  std::map<Index, double> parameters, perplexity;
  for (const auto& m : storage::RunReader(run_folder("tq", summary)).metrics()) {
    if (m.name == "size/parameters") parameters[m.stage] = m.value;
    if (m.name == "eval/perplexity") perplexity[m.stage] = m.value;
  }
  BOOST_TEST(parameters[0] == parameters[-1] - 260 * 16 + 2);
  BOOST_TEST(parameters[2] == parameters[1] - 260 * 8 + 2);
  for (const int stage : {-1, 0, 1, 2}) BOOST_TEST(perplexity[stage] > 1.0);
}

BOOST_FIXTURE_TEST_CASE(a_student_of_some_blocks_is_measured_without_any_stage, Fixture) {
  const auto summary = run(world, "student", "[student]\nblocks = [0, 2]\n");
  if (!world.is_root()) return;
  const auto metrics = storage::RunReader(run_folder("student", summary)).metrics("size/parameters");
  const auto block = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32;
  BOOST_TEST(metrics.front().value == 260 * 32 + 2 * block + 32);
  BOOST_TEST(storage::RunReader(run_folder("student", summary)).description().model_name == "model, 2 blocks");
}

BOOST_FIXTURE_TEST_CASE(a_student_is_compared_with_the_model_as_it_is_and_last_words_are_predicted, Fixture) {
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    write_file_atomically((folder / "p.jsonl").string(), "{\"text\": \"the cat sat on the mat\"}\n\n{\"text\": \"a dog ran  home \"}\n");
    write_file_atomically((folder / "p.txt").string(), "the cat sat on the mat\r\na dog ran  home\n");
  });
  const auto stages = [&](const char* passages) {
    return fmt::format("divergence = true\n[[evaluate]]\ndataset = {{ path = \"{}\" }}\nprotocol = {{ kind = \"last-word\", window = 32 }}\n"
                       "[[stage]]\nlayers = [\"layers.1.mlp.*\"]\ndecompose = {{ kind = \"svd\", truncation = 2 }}\n",
                       passages);
  };
  const auto summary = run(world, "store", stages("p.jsonl"));
  run(world, "other", stages("p.txt"));
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    const storage::RunReader reader(run_folder("store", summary));
    const auto value = [&](const std::string& name, Index stage, const std::string& dataset) {
      for (const auto& metric : reader.metrics()) {
        if (metric.name == name && metric.stage == stage && metric.dataset == dataset) return metric.value;
      }
      return std::nan("");
    };
    BOOST_TEST(std::isnan(value("divergence/kl", -1, "e")));  // of the model from itself
    BOOST_TEST(value("divergence/kl", 0, "e") > 0);
    BOOST_TEST(value("divergence/kl_p100", 0, "e") >= value("divergence/kl_p50", 0, "e"));
    BOOST_TEST(value("divergence/jsd", 0, "e") < value("divergence/kl", 0, "e"));
    BOOST_TEST(value("divergence/top5_agreement", 0, "e") > 0.1);
    BOOST_TEST(std::isnan(value("divergence/kl", 0, "p")));
    BOOST_TEST(value("eval/perplexity", 0, "p") > 1);
    BOOST_TEST(value("eval/top1_accuracy", -1, "p") <= 1);
    std::size_t num_compared = 0;
    for (const auto& evaluation : reader.evaluations()) {
      num_compared += evaluation.protocol.starts_with("kl-divergence token-perplexity window=32");
      if (evaluation.dataset == "p") BOOST_TEST(evaluation.windows.size() == 2u);
    }
    BOOST_TEST(num_compared == 1u);
    BOOST_TEST(numbers_of(run_folder("store", summary)).find("divergence/probability_change_rms") != std::string::npos);
  });
  for (const auto& [content, message] : {std::pair{"{\"text\": 3}", "line 1: expected an object with a string \"text\""}, {"\nword\n", "line 2: expected an object"},
                                         {"{\"text\": \"alone\"}", "passage 'alone' has not two words"}}) {
    comm::coordinate(world, [&] {
      if (world.is_root()) write_file_atomically((folder / "bad.jsonl").string(), content);
    });
    const std::string found = testing::message_of([&] { run(world, "store", stages("bad.jsonl")); });
    BOOST_TEST(found.find(message) != std::string::npos, found);
  }
}

BOOST_AUTO_TEST_SUITE_END()
