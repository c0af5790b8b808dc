#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/tq_configuration.hpp"
#include "framework/config/value.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/tiny_model.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::contains;
using kronlab::testing::message_of;

namespace {

struct Shape {
  Index r, m1, n1, m2, n2;
};

std::string ending(Index step, const char* use_p = "True", const char* use_q = "True") {
  return fmt::format("    n_iter: 5\n    q_num: {}\n    use_p: {}\n    use_q: {}\n", step, use_p, use_q);
}
std::string matrix(const std::string& name, Shape s, Index step, const char* use_p = "True",
                   const char* use_q = "True") {
  return fmt::format("  transformer.h.{}:\n    r: {}\n    m1: {}\n    n1: {}\n    m2: {}\n    n2: {}\n", name, s.r,
                     s.m1, s.n1, s.m2, s.n2) +
         ending(step, use_p, use_q);
}
std::string embedding(const std::string& more, Index d, Index step) {
  return fmt::format("  transformer.wte{}:\n    d: {}\n", more, d) + ending(step);
}

std::string imported(const std::string& layers) {
  return experiment_of_tq("layers:\n" + layers, "dir/tq.yaml", "models/gpt2");
}

CompressionPlan plan_of(const std::string& layers, const model::ModelConfig& config) {
  return CompressionPlan::make(ExperimentSpec::read(config::parse_toml(imported(layers), "tq.toml"), "."), config);
}

std::string error_of(const std::string& layers) {
  return message_of([&] { imported(layers); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tq_configurations)

BOOST_AUTO_TEST_CASE(the_released_models_shapes_give_its_numbers_of_parameters) {
  std::string layers = embedding("", 2, 0) + embedding(".embedding", 2, 2);
  for (const Index block : {1, 3, 5, 7, 9, 11}) {
    layers += matrix(fmt::format("{}.mlp.c_fc", block), {4, 384, 768, 2, 4}, 1);
    layers += matrix(fmt::format("{}.mlp.c_proj", block), {4, 768, 384, 4, 2}, 1);
  }
  model::ModelConfig gpt2;
  gpt2.architecture = model::Architecture::gpt2;
  gpt2.vocab_size = 50257, gpt2.width = 768, gpt2.ffn_width = 3072, gpt2.num_blocks = 12,
  gpt2.num_heads = gpt2.num_kv_heads = 12, gpt2.head_dim = 64;
  gpt2.context = 1024;
  const auto plan = plan_of(layers, gpt2);
  BOOST_TEST_REQUIRE(plan.stages.size() == 3u);
  BOOST_TEST(plan.stages[0].after.parameters_without_head == 105'141'122);
  BOOST_TEST(plan.stages[1].after.parameters_without_head == 90'985'730);
  BOOST_TEST(plan.stages[2].after.parameters_without_head == 81'336'388);
  BOOST_TEST(plan.stages[2].after.parameters == 119'933'764);
  const auto toml = imported(layers);
  BOOST_TEST(
      contains(
          toml,
          "name = \"step 1: h.*.mlp.c_fc, h.*.mlp.c_proj\"\n[[stage.part]]\nlayers = [\"h.{1,3,5,7,9,11}.mlp.c_fc\"]\n"
          "decompose = { kind = \"kronecker\", left_rows = 768, left_cols = 384, right_rows = 4, right_cols = 2, "
          "num_terms = 4 }\n"
          "permute = { kind = \"alternating\", num_rounds = 5 }\n"),
      toml);
  BOOST_TEST(contains(toml, "layers = [\"wte.left\"]\n"));
  BOOST_TEST(contains(toml, "head = \"untied\""));
}

BOOST_AUTO_TEST_CASE(steps_go_by_their_numbers_and_layers_with_other_settings_are_parts_of_their_own) {
  const auto toml = imported(matrix("10.attn", {1, 16, 32, 2, 1}, 7) +
                             matrix("2.mlp.c_proj", {1, 32, 16, 4, 2}, 3, "false", "false") +
                             matrix("0.mlp.c_proj", {2, 32, 16, 4, 2}, 3, "false", "false"));
  BOOST_TEST(contains(toml, "name = \"step 3: h.*.mlp.c_proj\"\n[[stage.part]]\nlayers = [\"h.2.mlp.c_proj\"]\n"),
             toml);
  BOOST_TEST(contains(toml, "num_terms = 1 }\n[[stage.part]]\nlayers = [\"h.0.mlp.c_proj\"]\n"), toml);
  BOOST_TEST(toml.find("step 3") <
             toml.find("name = \"step 7: h.*.attn.c_attn[*]\"\nlayers = [\"h.10.attn.c_attn[*]\"]\n"));
  BOOST_TEST(contains(toml, "permute = { kind = \"alternating\", num_rounds = 5, step = \"random\" }"));
  BOOST_TEST(!contains(toml.substr(0, toml.find("step 7")), "permute ="), "not where both sides are false");
  BOOST_TEST(!contains(toml, "head ="), "nothing unties a head whose embedding stays dense");
}

BOOST_AUTO_TEST_CASE(an_embedding_may_be_decomposed_twice_in_one_step_but_no_factor_that_is_not_there) {
  auto config = kronlab::testing::tiny_gpt2_config();
  const auto plan = plan_of(embedding(".embedding", 4, 1) + embedding("", 2, 1), config);
  BOOST_TEST_REQUIRE(plan.stages.size() == 2u);
  BOOST_TEST(plan.stages[1].layers[0].name == "wte.left");
  BOOST_TEST(plan.stages[1].layers[0].parameters_after == 260 * 4 + 4);
  BOOST_TEST(error_of(embedding(".embedding", 2, 1)) ==
             "dir/tq.yaml:2:3: layers.transformer.wte.embedding: is a factor of transformer.wte, which no step up to 1 "
             "decomposes");
  BOOST_TEST(
      contains(error_of(embedding(".embedding", 2, 1) + embedding("", 2, 2)), "which no step up to 1 decomposes"));
}

BOOST_AUTO_TEST_CASE(unknown_missing_or_impossible_settings_are_named_with_their_line) {
  const Shape shape{1, 16, 32, 2, 4};
  const std::string good = matrix("1.mlp.c_fc", shape, 0);
  BOOST_TEST(contains(error_of(good + "    rank: 3\n"),
                      "dir/tq.yaml:12:5: unknown key 'layers.transformer.h.1.mlp.c_fc.rank'"));
  BOOST_TEST(contains(message_of([&] { experiment_of_tq("layers:\n" + good + "layer: 1\n", "f", "m"); }),
                      "f:12:1: unknown key 'layer'"));
  BOOST_TEST(error_of("  transformer.wte:\n    d: 2\n    q_num: 0\n    use_q: True\n") ==
             "dir/tq.yaml:2:3: layers.transformer.wte.use_p: is missing");
  std::string without = good;
  BOOST_TEST(contains(error_of(without.erase(without.find("    m2"), 10)),
                      "dir/tq.yaml:2:3: layers.transformer.h.1.mlp.c_fc.m2: is missing"));
  BOOST_TEST(contains(error_of(matrix("1.mlp.c_fc", {0, 16, 32, 2, 4}, 0)),
                      "dir/tq.yaml:3:5: layers.transformer.h.1.mlp.c_fc.r: is 0, expected 1 to"));
  BOOST_TEST(contains(error_of(matrix("1.mlp.c_fc", shape, -1)), "q_num: is -1, expected 0 to 1000"));
  BOOST_TEST(contains(error_of(matrix("1.mlp.c_fc", shape, 0, "yes")),
                      "use_p: expected true or false, found a text (\"yes\")"));
  BOOST_TEST(contains(error_of(matrix("1.mlp.c_fc", shape, 0, "True", "False")),
                      "dir/tq.yaml:11:5: layers.transformer.h.1.mlp.c_fc.use_q: is false for one side"));
  BOOST_TEST(contains(error_of(matrix("1.attn", shape, 0, "False")),
                      "use_p: is false; TQCompressor permutes query, key and value on both sides"));
  for (const char* name :
       {"1.attn.c_attn", "01.mlp.c_fc", "x.mlp.c_fc", "1.mlp", "9999999.attn", "1.mlp.c_fc.bias", "1..mlp.c_fc"}) {
    BOOST_TEST(contains(error_of(matrix(name, shape, 0)),
                        fmt::format("dir/tq.yaml:2:3: layers: 'transformer.h.{}' is no layer", name)));
  }
  BOOST_TEST(contains(error_of("  lm_head: 1\n"), "'lm_head' is no layer"));
  BOOST_TEST(contains(error_of("  transformer.wte: 1\n"), "expected a table, found an integer"));
}

BOOST_AUTO_TEST_CASE(a_cut_off_or_empty_file_is_refused) {
  const std::string whole = "layers:\n" + embedding("", 2, 0) + matrix("1.mlp.c_fc", {1, 16, 32, 2, 4}, 1);
  BOOST_CHECK_NO_THROW(experiment_of_tq(whole, "f", "m"));
  for (const char* key : {"m1", "q_num", "use_q"}) {
    const auto cut = whole.substr(0, whole.rfind(key));
    BOOST_TEST(contains(message_of([&] { experiment_of_tq(cut, "f", "m"); }), "is missing"), cut);
  }
  BOOST_TEST(message_of([&] { experiment_of_tq(whole.substr(0, whole.rfind("q: True")), "f", "m"); }).starts_with("f:"));
  BOOST_TEST(message_of([&] { experiment_of_tq("", "f", "m"); }) == "f: layers: is missing");
  BOOST_TEST(message_of([&] { experiment_of_tq("layers:\n", "f", "m"); }) == "f:1:1: 'layers' has no value");
  BOOST_TEST(
      contains(message_of([&] { experiment_of_tq("layers: 3\n", "f", "m"); }), "f:1:1: layers: expected a table"));
}

BOOST_AUTO_TEST_CASE(every_beginning_and_every_changed_character_gives_toml_or_a_configuration_error) {
  const std::string whole = "layers:\n" + embedding("", 2, 0) + matrix("1.mlp.c_fc", {1, 16, 32, 2, 4}, 1) +
                            matrix("1.attn", {1, 16, 32, 2, 1}, 2);
  int num_taken = 0, num_refused = 0;
  const auto import = [&](const std::string& text) {
    try {
      config::parse_toml(experiment_of_tq(text, "f", "m"), "t");
      ++num_taken;
    } catch (const ConfigError&) {
      ++num_refused;
    }
  };
  for (std::size_t i = 0; i < whole.size(); ++i) {
    import(whole.substr(0, i));
    for (const char c : std::string("\0\n\t :#'\"{-9\xff", 12)) {
      std::string changed = whole;
      changed[i] = c;
      import(changed);
    }
  }
  BOOST_TEST(num_taken > 0);
  BOOST_TEST(num_refused > 10 * num_taken);
}

BOOST_AUTO_TEST_CASE(names_and_paths_cannot_leave_their_place_in_the_result) {
  const auto toml = experiment_of_tq("layers:\n" + embedding("", 2, 0), "a\"\n[x]\n.yaml", "m\"\nhead = 1");
  const auto table = config::parse_toml(toml, "t");
  BOOST_TEST(config::to_text(*config::value_at(table, "model.path")) == "\"m\\\"\\nhead = 1\"");
  BOOST_TEST(!config::value_at(table, "x"));
}

BOOST_AUTO_TEST_SUITE_END()
