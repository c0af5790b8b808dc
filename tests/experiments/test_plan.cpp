#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/memory_estimate.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "framework/base/hash.hpp"
#include "framework/config/read_toml_file.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::message_of;

namespace {

namespace fs = std::filesystem;

const fs::path source_dir = std::getenv("KRONLAB_SOURCE_DIR") ? std::getenv("KRONLAB_SOURCE_DIR") : ".";

struct PlannedRun {
  std::string label;
  CompressionPlan plan;
};

std::vector<PlannedRun> plans_of(const fs::path& file) {
  std::vector<PlannedRun> plans;
  for (const auto& run : config::expand_sweep(config::read_toml_file(file.string()))) {
    const auto spec = ExperimentSpec::read(run.config, file.parent_path().string());
    plans.push_back({run.label, CompressionPlan::make(spec, ModelAccess(spec.model.path).config())});
  }
  return plans;
}

CompressionPlan tiny_plan(const std::string& stages,
                          const model::ModelConfig& config = kronlab::testing::tiny_gpt2_config()) {
  const std::string toml =
      "[experiment]\nname = \"e\"\n[model]\npath = \"m\"\n[data]\ncalibration = { path = \"c\", tokens = 64, window = "
      "32 }\ndistillation = { path = \"c\", window = 32, holdout = 1 }\n" +
      stages;
  return CompressionPlan::make(ExperimentSpec::read(config::parse_toml(toml, "f.toml"), "."), config);
}

/// Files of a folder that others of it do not include; what is in a `tables` is for kronlab-report.
std::set<fs::path> experiments_below(const fs::path& folder) {
  std::set<fs::path> files, included;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".toml" || entry.path().parent_path().filename() == "tables") continue;
    const fs::path& file = *files.insert(entry.path().lexically_normal()).first;
    config::read_toml_file(file.string(), [&](const std::string& path) {
      if (path != file) included.insert(path);
      return read_text_file(path);
    });
  }
  for (const auto& path : included) files.erase(path);
  return files;
}

/// What the files of part B of the published table read: its own config.json, and texts that planning does not open.
void set_small_gpt2() {
  setenv("PUBLISHED_B_MODEL", (source_dir / "experiments" / "published" / "b" / "model").c_str(), 1);
  setenv("PUBLISHED_B_TEXT", "/nowhere", 1);
}

/// A stage that only trains.
std::string training(const std::string& more) {
  return "[[stage]]\n[stage.distill]\nsteps = 1\nlr = 0.1\nbatch_tokens = 512\nmicro_batch = 2\n" + more + "\n";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(plans)

BOOST_AUTO_TEST_CASE(published_models_have_their_published_numbers_of_parameters) {
  const fs::path experiments = source_dir / "experiments";
  BOOST_TEST(plans_of(experiments / "gpt2" / "gpt2.toml")[0].plan.dense.parameters == 124'439'808);
  BOOST_TEST(plans_of(experiments / "distilgpt2" / "distilgpt2.toml")[0].plan.dense.parameters == 81'912'576);
  const auto tq = plans_of(experiments / "tqcompressor" / "tqcompressor.toml")[0].plan;
  BOOST_TEST_REQUIRE(tq.stages.size() == 3u);
  BOOST_TEST(tq.teacher.parameters == 124'439'808);
  BOOST_TEST(tq.stages[0].after.parameters_without_head == 105'141'122);
  BOOST_TEST(tq.stages[1].after.parameters_without_head == 90'985'730);
  BOOST_TEST(tq.stages[2].after.parameters_without_head == 81'336'388);
  BOOST_TEST(tq.stages[2].after.parameters == 119'933'764);
  const auto krony = plans_of(experiments / "krony_pt" / "krony_pt.toml");
  BOOST_TEST_REQUIRE(krony.size() == 5u);
  BOOST_TEST(krony[0].plan.stages[0].after.parameters == 81'972'576);
  BOOST_TEST(krony[1].plan.stages[0].after.parameters == 96'128'304);
  BOOST_TEST(krony[2].plan.stages[0].after.parameters == 80'400'048);
  BOOST_TEST(krony[3].plan.stages[1].after.parameters == 92'983'392);
  BOOST_TEST(krony[4].plan.stages[0].after.parameters == krony[1].plan.stages[0].after.parameters);
  const auto kngpt2 = plans_of(experiments / "kngpt2" / "size.toml");
  BOOST_TEST(kngpt2[0].plan.stages[0].after.parameters == 85'676'990);
  BOOST_TEST(kngpt2[1].plan.stages[0].after.parameters == 83'907'530);
  BOOST_TEST(plans_of(experiments / "kngpt2" / "kngpt2.toml")[0].plan.stages[0].after.parameters == 85'676'990);
  const Index of_a_token[] = {384, 232, 20};  // of 768
  const auto trains = plans_of(experiments / "tensorgpt" / "tensorgpt.toml");
  BOOST_TEST_REQUIRE(trains.size() == 6u);
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST(trains[i].plan.stages[0].layers[0].parameters_after == 50257 * of_a_token[i]);
    BOOST_TEST(trains[i + 3].plan.stages[0].layers[0].parameters_after <= 50257 * of_a_token[i]);
  }
}

BOOST_AUTO_TEST_CASE(the_small_gpt2_has_the_published_shapes_scaled_down) {
  set_small_gpt2();
  const fs::path folder = source_dir / "experiments" / "published" / "b";
  BOOST_TEST(plans_of(folder / "teacher.toml")[0].plan.dense.parameters == 19'315'456);
  std::map<std::string, ModelSize> sizes;
  for (const auto& run : plans_of(folder / "rows.toml")) sizes[run.label] = run.plan.stages.back().after;
  // wte, wpe, final norm; attention with biases and norms, both MLP matrices and their biases, of a block
  const Index outer = 50257 * 256 + 512 * 256 + 512, attention = 4 * 256 * 257 + 4 * 256, matrix = 1024 * 256, biases = 1024 + 256;
  const Index dense = outer + 8 * (attention + 2 * matrix + biases);
  BOOST_TEST(sizes.at("DistilGPT-2").parameters == dense - 4 * (attention + 2 * matrix + biases));
  BOOST_TEST(sizes.at("KnGPT-2").parameters == dense - 50257 * 128 + 2 - 4 * (3 * 256 * 128 + matrix) + 4 * (3 * 2 + 2 * 2));
  BOOST_TEST(sizes.at("Krony-PT 96M").parameters == dense - 8 * matrix + 8 * 2 * 2);
  BOOST_TEST(sizes.at("Krony-PT 81M").parameters == dense - 8 * 2 * (matrix - 256 * 256 - 4));
  const Index tq = dense - 50257 * 192 + 2 * 2 - 4 * 2 * (matrix / 2 - 4 * 8);
  BOOST_TEST(sizes.at("TQCompressor, tied head").parameters == tq);
  BOOST_TEST(sizes.at("TQCompressor seed=0").parameters_without_head == tq);
  BOOST_TEST(sizes.at("TQCompressor seed=0").parameters == tq + 50257 * 256);
  BOOST_TEST(sizes.at("two-sided SVD").parameters == dense - 8 * 2 * (matrix - 102 * (1024 + 256)));
}

BOOST_AUTO_TEST_CASE(seven_billion_parameters_are_planned_from_a_config_alone) {
  const fs::path experiments = source_dir / "experiments";
  BOOST_TEST(!fs::exists(experiments / "llama2" / "model" / "model.safetensors"));
  BOOST_TEST(plans_of(experiments / "llama2" / "llama2.toml")[0].plan.teacher.parameters == 6'738'415'616);
  const auto pruned = plans_of(experiments / "sparsegpt" / "sparsegpt.toml");
  BOOST_TEST_REQUIRE(pruned.size() == 10u);
  for (const auto& run : pruned) {
    BOOST_TEST_CONTEXT(run.label) {
      BOOST_TEST(run.plan.stages[0].layers.size() == 7u * 32u);
      BOOST_TEST(run.plan.stages[0].after.parameters == 6'738'415'616 - 32 * (4 * 4096 * 4096 + 3 * 4096 * Index{11008}) / 2);
    }
  }
  const auto operators = plans_of(experiments / "compactifai" / "compactifai.toml");
  BOOST_TEST_REQUIRE(operators.size() == 3u);
  BOOST_TEST(operators[0].plan.stages[1].after.parameters == 2'094'027'776);
  BOOST_TEST(operators[1].plan.stages[1].after.parameters == 2'515'308'768);
  BOOST_TEST(operators[2].plan.stages[1].after.parameters == 2'209'366'016);
}

BOOST_AUTO_TEST_CASE(every_experiment_of_the_tree_can_be_planned) {
  const kronlab::testing::TemporaryFolder folder;
  auto smollm2 = kronlab::testing::tiny_llama_config();
  smollm2.vocab_size = 49152, smollm2.width = 576, smollm2.ffn_width = 1536, smollm2.num_blocks = 30, smollm2.context = 8192;
  smollm2.num_heads = 9, smollm2.num_kv_heads = 3, smollm2.head_dim = 64;
  write_file_atomically(folder / "config.json", smollm2.to_json());
  for (const std::string name : {"QUICKSTART", "HEALING", "SEARCH", "SENSITIVITY", "METHODS", "PUBLISHED"}) {
    setenv((name + "_MODEL").c_str(), folder.path().c_str(), 1);
    setenv((name + "_TEXT").c_str(), "/nowhere", 1);
  }
  set_small_gpt2();
  const auto files = experiments_below(source_dir / "experiments");
  for (const auto& file : files) {
    BOOST_TEST_CONTEXT(file) { BOOST_TEST(!plans_of(file).empty()); }
  }
  BOOST_TEST(files.size() >= 13u);
  BOOST_TEST(!files.contains(source_dir / "experiments" / "gpt2" / "base.toml"));
}

BOOST_AUTO_TEST_CASE(a_file_that_another_includes_is_no_experiment_of_its_own) {
  const kronlab::testing::TemporaryFolder folder;
  write_file_atomically(folder / "base.toml", "[model]\npath = \"m\"");
  write_file_atomically(folder / "e.toml", "include = \"base.toml\"");
  BOOST_TEST(experiments_below(folder.path()) == std::set<fs::path>{folder.path() / "e.toml"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_factor_can_be_decomposed_again_and_a_layer_only_once) {
  const std::string first =
      "[[stage]]\nlayers = [\"wte\"]\ndecompose = { kind = \"kronecker\", right_rows = 1, right_cols = 2 }\n";
  const auto plan = tiny_plan(
      first +
      "[[stage]]\nlayers = [\"wte.left\"]\ndecompose = { kind = \"kronecker\", right_rows = 1, right_cols = 4 }\n");
  BOOST_TEST(plan.stages[0].layers[0].parameters_after == 260 * 16 + 2);
  BOOST_TEST(plan.stages[1].layers[0].name == "wte.left");
  BOOST_TEST(plan.stages[1].layers[0].rows == 260);
  BOOST_TEST(plan.stages[1].layers[0].cols == 16);
  BOOST_TEST(plan.stages[1].after.parameters == plan.dense.parameters - 260 * 32 + 260 * 4 + 4 + 2);
  BOOST_TEST(message_of([&] { tiny_plan(first + first); }).find("was compressed by stage 0 before") !=
             std::string::npos);
  BOOST_TEST(message_of([&] {
               tiny_plan("[[stage]]\nlayers = [\"wte.left\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\n");
             }).find("matches nothing") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_done_is_refused_before_anything_is_read) {
  const auto error = [](const std::string& stages) { return message_of([&] { tiny_plan(stages); }); };
  BOOST_TEST(error("[[stage]]\nlayers = [\"h.1.mlp.c_fc\"]\ndecompose = { kind = \"kronecker\", left_rows = 100, "
                   "left_cols = 2 }\n") ==
             "kronecker: rows of `h.1.mlp.c_fc` (128) are not divisible by left_rows (100)");
  BOOST_TEST(error("[[stage]]\nlayers = [\"h.1.mlp.c_fc\"]\ndecompose = { kind = \"kronecker\", right_rows = 2, "
                   "right_cols = 2, num_terms = 5 }\n")
                 .find("allow at most 4") != std::string::npos);
  BOOST_TEST(error("[[stage]]\nlayers = [\"h.1.mlp.c_fc\"]\ndecompose = { kind = \"svd\", keep = 0.5 }\npermute = { "
                   "kind = \"norm-sort\" }\n")
                 .find("gains nothing from a permutation") != std::string::npos);
  const std::string sum = "[[stage]]\nlayers = [\"h.1.mlp.c_fc\"]\ndecompose = { kind = \"sum\", parts = [ { kind = \"svd\", keep = 0.5 }, { kind = \"kronecker\", "
                          "right_rows = 3, right_cols = 2 } ] }\n";
  BOOST_TEST(error(sum) == "kronecker: rows of `h.1.mlp.c_fc` (128) are not divisible by right_rows (3)");
  BOOST_TEST(error("[[stage]]\nlayers = [\"h.1.mlp.c_fc\"]\ndecompose = { kind = \"sum\", parts = [ { kind = \"svd\", keep = 0.5 }, { kind = \"svd\", keep = "
                   "0.1 } ] }\npermute = { kind = \"norm-sort\" }\n") == "`h.1.mlp.c_fc`: 'sum' gains nothing from a permutation: leave out permute");
  BOOST_TEST(error("[[stage]]\nlayers = [\"wte\"]\ndecompose = { kind = \"whitened-svd\", keep = 0.5 }\n")
                 .find("`wte` has none") != std::string::npos);
  BOOST_TEST(error("[student]\nblocks = [0, 3]\n").find("block 3 does not exist") != std::string::npos);
  BOOST_TEST(error("[[evaluate]]\ndataset = { path = \"t\" }\nprotocol = { window = 65 }\n").find("expected 2 to 64") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_a_distillation_compares_or_trains_must_be_there) {
  const auto error = [](const std::string& more) { return message_of([&] { tiny_plan(training(more)); }); };
  BOOST_TEST(error("losses = { hidden = 1.0 }\nblocks = [[1, 4]]").find("pair [1, 4], expected 1 to 3 of the student and 1 to 3 of the teacher") != std::string::npos);
  BOOST_TEST(error("losses = { attention = 1.0 }\nblocks = [[1, 3], [1, 2]]").find("block 1 of the student has two targets, 2 and 3") !=
             std::string::npos);
  BOOST_CHECK_NO_THROW(tiny_plan(training("losses = { hidden = 1.0 }\nblocks = [[1, 3], [1, 2]]")));
  BOOST_TEST(error("losses = { ce = 1.0 }\ntrain = \"factors\"").find("no layer is decomposed") != std::string::npos);
  BOOST_TEST(error("losses = { ce = 1.0 }\ntrain = [\"h.*.mlp.c_fx\"]").find("h.*.mlp.c_fx") != std::string::npos);
  BOOST_CHECK_NO_THROW(tiny_plan(training("losses = { ce = 1.0 }\ntrain = [\"h.*.attn.c_attn[q].bias\", \"ln_f.*\"]")));
  const kronlab::testing::TemporaryFolder folder;
  auto other = kronlab::testing::tiny_gpt2_config();
  other.vocab_size = 100;
  write_file_atomically(folder / "config.json", other.to_json());
  const std::string student = "[student]\nconfig = \"" + folder / "config.json" + "\"\n";
  BOOST_TEST(message_of([&] { tiny_plan(student + training("losses = { ce = 1.0 }")); }).find("a vocabulary of 100") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_memory_of_a_training_follows_from_what_learns_and_how) {
  const auto bytes = [](const std::string& more, int ranks) {
    const std::string toml = "[experiment]\nname = \"e\"\n[model]\npath = \"m\"\n[data]\ndistillation = { path = \"c\", window = 1024 }\n" + training(more);
    std::string fitting = toml;
    fitting.replace(fitting.find("512"), 3, "8192");
    auto config = kronlab::testing::tiny_gpt2_config();
    config.context = 1024, config.width = 768, config.ffn_width = 3072, config.num_blocks = 12, config.num_heads = config.num_kv_heads = 12, config.head_dim = 64;
    const auto spec = ExperimentSpec::read(config::parse_toml(fitting, "f.toml"), ".");
    return estimated_memory_bytes(spec, CompressionPlan::make(spec, config), ranks);
  };
  const std::string ce = "losses = { ce = 1.0 }\n";
  const Index parameters = 12 * (12 * 768 * 768 + 13 * 768) + 260 * 768 + 1024 * 768 + 2 * 768;
  const Index all = bytes(ce, 1);
  BOOST_TEST(all - bytes(ce + "recompute = true", 1) > 10 * 2048 * 4 * 5 * 3072 / 4);
  BOOST_TEST(bytes(ce + "shard_optimizer = false", 4) - bytes(ce, 4) == 6 * parameters);  // 8 bytes a parameter, 3/4 of them
  BOOST_TEST(bytes("losses = { kl = 1.0 }", 1) - all > 4 * parameters);                   // a teacher besides
  BOOST_TEST(all - bytes(ce + "train = [\"h.11.*.*\"]", 1) > 11 * parameters);
}

BOOST_AUTO_TEST_CASE(dense_weights_beside_factors_count_where_speed_is_measured_and_no_teacher_has_them) {
  const auto config = kronlab::testing::tiny_llama_config();
  const auto evaluation = [&](const std::string& more, const std::string& stage) {
    const std::string toml = "[experiment]\nname = \"e\"\n[model]\npath = \"m\"\n[[evaluate]]\ndataset = { path = \"e\" }\n"
                             "protocol = { window = 32 }\n" + more + "[[stage]]\nlayers = [\"layers.*.mlp.*\"]\n" + stage;
    const auto spec = ExperimentSpec::read(config::parse_toml(toml, "f.toml"), ".");
    const auto plan = CompressionPlan::make(spec, config);
    return std::pair(estimated_memory(spec, plan, 1).evaluation, plan.stages.front().after.stored_bytes - plan.dense.stored_bytes);
  };
  const std::string svd = "decompose = { kind = \"svd\", keep = 0.5 }\n", kronecker = "decompose = { kind = \"kronecker\", right_rows = 2, right_cols = 4 }\n";
  const auto [large, large_change] = evaluation("", svd);
  const auto [small, small_change] = evaluation("", kronecker);
  BOOST_TEST(large - small == large_change - small_change);  // dense weights and factors, less what was loaded
  BOOST_TEST(large - evaluation("divergence = true\n", svd).first == 3 * 3 * 64 * 32 * 4 + large_change);
}

BOOST_AUTO_TEST_SUITE_END()
