#include <boost/test/unit_test.hpp>

#include "tests/support/forward_pass.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::model {
namespace {

using testing::forward_pass;
using testing::message_of;
using testing::relative_difference;

ModelConfig small_llama() {
  ModelConfig c;
  c.architecture = Architecture::llama;
  c.vocab_size = 50, c.width = 24, c.ffn_width = 40, c.num_blocks = 3;
  c.num_heads = 4, c.num_kv_heads = 2, c.head_dim = 6, c.context = 32;
  return c;
}

ModelConfig small_gpt2() {
  ModelConfig c = small_llama();
  c.architecture = Architecture::gpt2;
  c.num_kv_heads = 4;
  return c;
}

Transformer load(const ModelConfig& config) { return Transformer::load(config, testing::random_model(config, 1)); }

std::vector<std::int32_t> some_ids() { return {3, 1, 4, 1, 5, 9, 2, 6, 49, 0}; }

Tensor logits(const Transformer& model) {
  const auto ids = some_ids();
  return forward_pass(model, ids, static_cast<Index>(ids.size()), Precision::fp64).logits;
}

std::shared_ptr<const linalg::LinearOperator> random_operator(Index rows, Index cols) {
  return std::make_shared<linalg::DenseOperator>(testing::random_tensor({rows, cols}, RandomStream(9)));
}

void check_message(const std::string& message, std::initializer_list<const char*> parts) {
  for (const char* part : parts) BOOST_TEST(message.find(part) != std::string::npos, message);
}

BOOST_AUTO_TEST_SUITE(transformer)

BOOST_AUTO_TEST_CASE(missing_tensors_and_wrong_shapes_are_named_when_a_model_is_loaded) {
  for (const auto& config : {small_llama(), small_gpt2()}) {
    for (const auto& [name, shape] : tensor_shapes(config)) {
      auto source = testing::random_model(config, 1);
      auto wrong = shape;
      wrong.back() += 1;
      source.put(name, Tensor(DType::f32, wrong));
      BOOST_CHECK_THROW(Transformer::load(config, source), DataError);
      check_message(message_of([&] { Transformer::load(config, source); }),
                    {name.c_str(), fmt::format("[{}]", fmt::join(wrong, ", ")).c_str(),
                     fmt::format("[{}]", fmt::join(shape, ", ")).c_str()});
      source.erase(name);
      BOOST_CHECK_THROW(Transformer::load(config, source), DataError);
      check_message(message_of([&] { Transformer::load(config, source); }), {name.c_str()});
    }
  }
}

BOOST_AUTO_TEST_CASE(a_missing_tensor_is_reported_with_the_nearest_name) {
  auto source = testing::random_model(small_llama(), 1);
  source.erase("norm.weight");
  source.put("norms.weight", Tensor(DType::f32, {24}));
  check_message(message_of([&] { Transformer::load(small_llama(), source); }),
                {"'norm.weight'", "did you mean 'norms.weight'?"});
}

BOOST_AUTO_TEST_CASE(layers_that_are_provided_are_not_read) {
  auto source = testing::random_model(small_llama(), 1);
  source.erase("layers.1.mlp.up_proj.weight");
  const auto given = random_operator(40, 24);
  const auto model = Transformer::load(small_llama(), source, {{"layers.1.mlp.up_proj", given}});
  BOOST_TEST(model.layer("layers.1.mlp.up_proj") == given);
  BOOST_CHECK_THROW(Transformer::load(small_llama(), source, {{"layers.1.mlp.up_proj", random_operator(41, 24)}}),
                    DataError);
  auto fused = testing::random_model(small_gpt2(), 1);
  fused.erase("h.0.attn.c_attn.weight");
  const auto slice = random_operator(24, 24);
  BOOST_CHECK_THROW(Transformer::load(small_gpt2(), fused, {{"h.0.attn.c_attn[q]", slice}}), DataError);
  const LayerOperators all = {
      {"h.0.attn.c_attn[q]", slice}, {"h.0.attn.c_attn[k]", slice}, {"h.0.attn.c_attn[v]", slice}};
  BOOST_CHECK_NO_THROW(Transformer::load(small_gpt2(), fused, all));
}

BOOST_AUTO_TEST_CASE(parameters_are_counted_as_the_configuration_implies) {
  for (auto config : {small_llama(), small_gpt2()}) {
    config.tied_head = true;
    BOOST_TEST(load(config).num_parameters() == num_parameters(config));
    BOOST_TEST(load(config).num_parameters_without_head() == num_parameters(config));
    config.tied_head = false;
    BOOST_TEST(load(config).num_parameters() == num_parameters(config));
    BOOST_TEST(load(config).num_parameters_without_head() == num_parameters(config) - 50 * 24);
  }
}

BOOST_AUTO_TEST_CASE(a_layer_replaced_in_a_copy_leaves_the_original_as_it_is) {
  for (const auto& config : {small_llama(), small_gpt2()}) {
    const Transformer teacher = load(config);
    const Tensor before = logits(teacher);
    for (const auto& layer : teacher.layers()) {
      Transformer student = teacher.share();
      BOOST_TEST(relative_difference(logits(student).view(), before.view()) == 0.0);
      BOOST_TEST(student.layer(layer.name) == teacher.layer(layer.name));
      student.replace_layer(layer.name, random_operator(layer.rows, layer.cols));
      BOOST_TEST(relative_difference(logits(student).view(), before.view()) > 1e-3, layer.name);
      BOOST_TEST(relative_difference(logits(teacher).view(), before.view()) == 0.0, layer.name);
    }
  }
}

BOOST_AUTO_TEST_CASE(replacements_of_another_shape_or_for_no_layer_are_refused) {
  Transformer model = load(small_llama());
  BOOST_CHECK_THROW(model.replace_layer("layers.0.mlp.up_proj", random_operator(24, 40)), ContractError);
  BOOST_CHECK_THROW(model.replace_layer("layers.3.mlp.up_proj", random_operator(40, 24)), ContractError);
  BOOST_CHECK_THROW(model.layer("lm_head"), ContractError);  // tied: the embedding is the head
}

BOOST_AUTO_TEST_CASE(a_student_has_the_blocks_it_was_given_in_their_sequence) {
  for (const auto& config : {small_llama(), small_gpt2()}) {
    const Transformer teacher = load(config);
    const Index order[] = {2, 0};
    const Transformer student = teacher.with_blocks(order);
    BOOST_TEST(student.config().num_blocks == 2);
    BOOST_TEST(student.layers().size() == linear_layers(student.config()).size());
    const auto ids = some_ids();
    const auto length = static_cast<Index>(ids.size());
    Workspace workspace(Precision::fp64);
    Tensor by_hand(DType::f64, {length, config.width}), found(DType::f64, {length, config.width});
    teacher.embed(ids, length, by_hand.view());
    for (const Index block : order) teacher.run_block(block, length, by_hand.view(), workspace);
    student.embed(ids, length, found.view());
    for (const Index block : {0, 1}) student.run_block(block, length, found.view(), workspace);
    BOOST_TEST(relative_difference(found.view(), by_hand.view()) == 0.0);
    const Index missing[] = {0, 3};
    BOOST_CHECK_THROW(teacher.with_blocks(missing), ConfigError);
    check_message(message_of([&] { teacher.with_blocks(missing); }), {"block 3", "0 to 2"});
    BOOST_CHECK_THROW(teacher.with_blocks({}), ConfigError);
  }
}

BOOST_AUTO_TEST_CASE(an_untied_head_starts_as_the_embedding_and_is_then_its_own) {
  Transformer model = load(small_llama());
  const Tensor before = logits(model);
  const Index parameters = model.num_parameters();
  model.untie_head();
  BOOST_TEST(relative_difference(logits(model).view(), before.view()) == 0.0);
  BOOST_TEST(model.num_parameters() == parameters + 50 * 24);
  BOOST_TEST(model.num_parameters_without_head() == parameters);
  BOOST_TEST(model.layers().back().name == "lm_head");
  const auto embedding = model.layer("embed_tokens");
  model.replace_layer("lm_head", random_operator(50, 24));
  BOOST_TEST(model.layer("embed_tokens") == embedding);
  BOOST_TEST(relative_difference(logits(model).view(), before.view()) > 1e-3);
}

BOOST_AUTO_TEST_CASE(a_later_token_changes_nothing_before_it) {
  for (const auto& config : {small_llama(), small_gpt2()}) {
    const Transformer model = load(config);
    auto ids = some_ids();
    const Tensor before = logits(model);
    ids.back() = 17;
    const Tensor after = forward_pass(model, ids, 10, Precision::fp64).logits;
    BOOST_TEST(relative_difference(after.view().block(0, 0, 9, 50), before.view().block(0, 0, 9, 50)) == 0.0);
    BOOST_TEST(relative_difference(after.view().block(9, 0, 1, 50), before.view().block(9, 0, 1, 50)) > 1e-3);
  }
}

BOOST_AUTO_TEST_CASE(models_with_different_rotary_embeddings_may_share_a_workspace) {
  ModelConfig other = small_llama();
  other.rope_theta = 50.0;
  Workspace shared(Precision::fp64);
  const auto ids = some_ids();
  for (const auto& config : {small_llama(), other}) {
    const Transformer model = load(config);
    Tensor stream(DType::f64, {10, 24});
    model.embed(ids, 10, stream.view());
    for (Index block = 0; block < 3; ++block) model.run_block(block, 10, stream.view(), shared);
    Tensor normed(DType::f64, {10, 24});
    model.final_norm(stream.view(), normed.view());
    const auto expected = forward_pass(model, ids, 10, Precision::fp64);
    BOOST_TEST(relative_difference(normed.view(), expected.hidden.back().view()) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(an_observer_sees_every_site_of_every_block_once) {
  for (const auto& config : {small_llama(), small_gpt2()}) {
    const Transformer model = load(config);
    Workspace workspace(Precision::fp32);
    Tensor stream(DType::f32, {10, 24});
    model.embed(some_ids(), 10, stream.view());
    std::vector<std::pair<InputSite, Index>> seen;
    model.run_block(1, 10, stream.view(), workspace, [&](Index block, InputSite site, ConstTensorView input) {
      BOOST_TEST(block == 1);
      BOOST_TEST(input.rows == 10);
      seen.emplace_back(site, input.cols);
    });
    const std::vector<std::pair<InputSite, Index>> expected = {{InputSite::attention, 24},
                                                               {InputSite::attention_output, 24},
                                                               {InputSite::mlp, 24},
                                                               {InputSite::mlp_hidden, 40}};
    BOOST_TEST((seen == expected));
  }
}

BOOST_AUTO_TEST_CASE(sequences_that_do_not_fit_are_refused) {
  const Transformer model = load(small_llama());
  Tensor stream(DType::f32, {10, 24}), longer(DType::f32, {33, 24});
  BOOST_CHECK_THROW(model.embed(some_ids(), 3, stream.view()), ContractError);
  BOOST_CHECK_THROW(model.embed(some_ids(), 0, stream.view()), ContractError);
  BOOST_CHECK_THROW(model.embed(std::vector<std::int32_t>(33, 1), 33, longer.view()), ContractError);
  BOOST_CHECK_THROW(model.embed(std::vector<std::int32_t>(10, 50), 10, stream.view()), ContractError);
  Workspace workspace(Precision::fp32);
  BOOST_CHECK_THROW(model.run_block(3, 10, stream.view(), workspace), ContractError);
}

BOOST_AUTO_TEST_CASE(precisions_have_names) {
  for (const auto precision : {Precision::fp32, Precision::bf16, Precision::fp64})
    BOOST_TEST((precision_from(to_string(precision)) == precision));
  check_message(message_of([] { precision_from("fp8"); }), {"'fp8'", "fp32, bf16, fp64"});
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
