#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "framework/model/model_config.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::model {
namespace {

using nlohmann::json;

json llama() {
  return {{"model_type", "llama"},        {"vocab_size", 100},      {"hidden_size", 48},
          {"intermediate_size", 80},      {"num_hidden_layers", 3}, {"num_attention_heads", 6},
          {"num_key_value_heads", 2},     {"rms_norm_eps", 1e-5},   {"hidden_act", "silu"},
          {"max_position_embeddings", 64}};
}

json gpt2_small() {
  return {{"model_type", "gpt2"}, {"vocab_size", 50257}, {"n_embd", 768},
          {"n_layer", 12},        {"n_head", 12},        {"n_positions", 1024}};
}

ModelConfig read(const json& value) { return ModelConfig::from_json(value.dump(), "folder/config.json"); }

json with(json value, const char* key, json replacement) {
  value[key] = std::move(replacement);
  return value;
}

json without(json value, const char* key) {
  value.erase(key);
  return value;
}

/// Refused with the file's name and every one of these parts.
void check_refused(const json& value, std::initializer_list<const char*> parts) {
  BOOST_CHECK_THROW(read(value), DataError);
  const std::string message = testing::message_of([&] { read(value); });
  BOOST_TEST(message.starts_with("folder/config.json: "), message);
  for (const char* part : parts) BOOST_TEST(message.find(part) != std::string::npos, message);
}

void check_equal(const ModelConfig& a, const ModelConfig& b) {
  BOOST_TEST((a.architecture == b.architecture));
  BOOST_TEST(a.vocab_size == b.vocab_size);
  BOOST_TEST(a.width == b.width);
  BOOST_TEST(a.ffn_width == b.ffn_width);
  BOOST_TEST(a.num_blocks == b.num_blocks);
  BOOST_TEST(a.num_heads == b.num_heads);
  BOOST_TEST(a.num_kv_heads == b.num_kv_heads);
  BOOST_TEST(a.head_dim == b.head_dim);
  BOOST_TEST(a.context == b.context);
  BOOST_TEST(a.norm_epsilon == b.norm_epsilon);
  BOOST_TEST(a.rope_theta == b.rope_theta);
  BOOST_TEST(a.tied_head == b.tied_head);
  BOOST_TEST(a.attention_bias == b.attention_bias);
  BOOST_TEST(a.mlp_bias == b.mlp_bias);
  BOOST_TEST((a.bos_id == b.bos_id));
  BOOST_TEST((a.eos_id == b.eos_id));
}

BOOST_AUTO_TEST_SUITE(model_config)

BOOST_AUTO_TEST_CASE(the_rotary_base_is_read_as_transformers_4_and_5_write_it) {
  BOOST_TEST(read(llama()).rope_theta == 10000.0);
  BOOST_TEST(read(with(llama(), "rope_theta", 500000)).rope_theta == 500000.0);
  BOOST_TEST(read(with(with(llama(), "rope_theta", 5e5), "rope_scaling", nullptr)).rope_theta == 5e5);
  BOOST_TEST(read(with(llama(), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e5}})).rope_theta == 1e5);
  check_refused(with(llama(), "rope_theta", 0.5), {"rope_theta", "0.5"});
  check_refused(with(llama(), "rope_theta", "large"), {"'rope_theta' must be a number", "large"});
}

BOOST_AUTO_TEST_CASE(scaled_rotary_embeddings_are_refused_by_name) {
  check_refused(with(llama(), "rope_scaling", {{"type", "linear"}, {"factor", 2.0}}),
                {"RoPE scaling", "linear", "default"});
  check_refused(with(llama(), "rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}), {"llama3"});
  check_refused(with(llama(), "rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 1e4}}), {"yarn"});
  check_refused(with(llama(), "rope_scaling", {{"factor", 4.0}}), {"factor 4.0"});
}

BOOST_AUTO_TEST_CASE(architectures_and_activations_that_are_not_supported_are_named) {
  check_refused(with(llama(), "model_type", "mamba"), {"mamba", "\"gpt2\", \"llama\""});
  check_refused(without(llama(), "model_type"), {"architecture"});
  check_refused(with(llama(), "hidden_act", "relu"), {"hidden_act", "relu", "silu"});
  check_refused(with(gpt2_small(), "activation_function", "relu"), {"activation_function", "relu", "gelu_new"});
  check_refused(with(gpt2_small(), "activation_function", "gelu"), {"\"gelu\""});  // the exact one is another function
  check_refused(with(gpt2_small(), "scale_attn_by_inverse_layer_idx", true), {"scale_attn_by_inverse_layer_idx"});
  check_refused(with(gpt2_small(), "add_cross_attention", true), {"add_cross_attention"});
  check_refused(with(gpt2_small(), "scale_attn_weights", false), {"scale_attn_weights"});
}

BOOST_AUTO_TEST_CASE(missing_and_impossible_values_are_named) {
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    check_refused(without(llama(), key), {key, "is missing"});
    check_refused(with(llama(), key, 0), {key, "is 0"});
    check_refused(with(llama(), key, "12"), {key, "must be an integer"});
  }
  for (const char* key : {"vocab_size", "n_embd", "n_layer", "n_head"})
    check_refused(without(gpt2_small(), key), {key, "is missing"});
  check_refused(with(gpt2_small(), "n_head", 7), {"n_embd (768)", "n_head (7)"});
  check_refused(with(llama(), "num_attention_heads", 5), {"hidden_size (48)", "num_attention_heads (5)"});
  check_refused(with(llama(), "num_key_value_heads", 4), {"(6)", "num_key_value_heads (4)"});
  check_refused(with(llama(), "head_dim", 7), {"head_dim (7)", "even"});
  check_refused(with(llama(), "rms_norm_eps", -1e-5), {"epsilon"});
  check_refused(with(llama(), "tie_word_embeddings", 1), {"tie_word_embeddings", "true or false"});
  check_refused(json::array(), {"object"});
  const auto message = testing::message_of([] { ModelConfig::from_json("{\"model_type\":", "c.json"); });
  BOOST_TEST(message.starts_with("c.json: not JSON"), message);
}

BOOST_AUTO_TEST_CASE(what_is_left_out_has_the_values_of_transformers) {
  const ModelConfig gpt2 = read(gpt2_small());
  BOOST_TEST(gpt2.ffn_width == 3072);
  BOOST_TEST(gpt2.norm_epsilon == 1e-5);
  BOOST_TEST(gpt2.tied_head);
  const ModelConfig c = read(without(without(llama(), "num_key_value_heads"), "rms_norm_eps"));
  BOOST_TEST(c.num_kv_heads == 6);
  BOOST_TEST(c.head_dim == 8);
  BOOST_TEST(c.norm_epsilon == 1e-6);
  BOOST_TEST(!c.tied_head);
  BOOST_TEST(read(with(llama(), "eos_token_id", {7, 8})).eos_id.value() == 7);
  BOOST_TEST(!read(llama()).eos_id.has_value());
}

BOOST_AUTO_TEST_CASE(a_written_config_is_read_back) {
  ModelConfig c = read(llama());
  c.rope_theta = 123456.5, c.norm_epsilon = 3e-6, c.tied_head = true, c.attention_bias = true, c.mlp_bias = true,
  c.head_dim = 10;
  c.bos_id = 1, c.eos_id = 2;
  check_equal(ModelConfig::from_json(c.to_json(), "written"), c);
  c = read(with(gpt2_small(), "n_inner", 1000));
  c.tied_head = false, c.eos_id = 50256;
  check_equal(ModelConfig::from_json(c.to_json(), "written"), c);
}

BOOST_AUTO_TEST_CASE(published_models_have_their_numbers_of_parameters) {
  BOOST_TEST(num_parameters(read(gpt2_small())) == 124439808);
  json tinyllama = llama();
  tinyllama.update({{"vocab_size", 32000},
                    {"hidden_size", 2048},
                    {"intermediate_size", 5632},
                    {"num_hidden_layers", 22},
                    {"num_attention_heads", 32},
                    {"num_key_value_heads", 4}});
  BOOST_TEST(num_parameters(read(tinyllama)) == 1100048384);  // TinyLlama-1.1B
  // by hand: q and o 48 x 48, k and v 16 x 48, three of 80 x 48, two norms; embedding, head and last norm
  BOOST_TEST(num_parameters(read(llama())) ==
             3 * (2 * 48 * 48 + 2 * 16 * 48 + 3 * 80 * 48 + 2 * 48) + 2 * 100 * 48 + 48);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
