#include "framework/model/model_config.hpp"

#include <nlohmann/json.hpp>
#include <set>

namespace kronlab::model {
namespace {

using Json = nlohmann::json;

/// A config.json being read: every access says what was expected where.
class Reader {
 public:
  Reader(std::string_view text, std::string origin) : origin_(std::move(origin)) {
    try {
      json_ = Json::parse(text);
    } catch (const Json::exception& error) {
      throw DataError(fmt::format("{}: not JSON: {}", origin_, error.what()));
    }
    if (!json_.is_object()) fail("expected a JSON object");
  }

  [[noreturn]] void fail(const std::string& message) const { throw DataError(fmt::format("{}: {}", origin_, message)); }

  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }

  Index count(const char* key) const {
    if (!has(key)) fail(fmt::format("'{}' is missing", key));
    if (!json_[key].is_number_integer()) fail(fmt::format("'{}' must be an integer, found {}", key, json_[key].dump()));
    const auto value = json_[key].get<Index>();
    if (value <= 0 || value > Index{1} << 40) fail(fmt::format("'{}' is {}, expected a positive count", key, value));
    return value;
  }
  Index count(const char* key, Index fallback) const { return has(key) ? count(key) : fallback; }

  double number(const char* key, double fallback) const {
    if (!has(key)) return fallback;
    if (!json_[key].is_number()) fail(fmt::format("'{}' must be a number, found {}", key, json_[key].dump()));
    return json_[key].get<double>();
  }

  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!json_[key].is_boolean()) fail(fmt::format("'{}' must be true or false, found {}", key, json_[key].dump()));
    return json_[key].get<bool>();
  }

  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!json_[key].is_string()) fail(fmt::format("'{}' must be a string, found {}", key, json_[key].dump()));
    return json_[key].get<std::string>();
  }

  std::optional<Index> token(const char* key) const {
    if (!has(key)) return std::nullopt;
    const Json& value = json_[key].is_array() && !json_[key].empty() ? json_[key][0] : json_[key];
    if (!value.is_number_integer()) fail(fmt::format("'{}' must be a token id, found {}", key, json_[key].dump()));
    return value.get<Index>();
  }

  /// The base of rotary embeddings; any scaling is refused by its name.
  double rope_theta() const {
    double theta = number("rope_theta", 10000.0);
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
      if (!has(key)) continue;
      const Json& rope = json_[key];
      if (!rope.is_object()) fail(fmt::format("'{}' must be an object, found {}", key, rope.dump()));
      for (const char* type : {"rope_type", "type"}) {
        if (rope.contains(type) && rope[type] != "default") {
          fail(fmt::format("RoPE scaling {} is not supported; supported: default", rope[type].dump()));
        }
      }
      if (rope.contains("factor") && rope["factor"] != 1.0) {
        fail(fmt::format("RoPE scaling by factor {} is not supported", rope["factor"].dump()));
      }
      if (rope.contains("rope_theta")) {
        if (!rope["rope_theta"].is_number()) fail(fmt::format("'{}.rope_theta' must be a number", key));
        theta = rope["rope_theta"].get<double>();
      }
    }
    if (!(theta > 1.0)) fail(fmt::format("'rope_theta' is {}, expected more than 1", theta));
    return theta;
  }

  void expect(const char* key, const char* wanted) const {
    const std::string found = text(key, wanted);
    if (found != wanted) fail(fmt::format("'{}' is \"{}\"; supported: \"{}\"", key, found, wanted));
  }

  void expect_false(const char* key) const {
    if (boolean(key, false)) fail(fmt::format("'{}' = true is not supported", key));
  }

 private:
  std::string origin_;
  Json json_;
};

ModelConfig read_gpt2(const Reader& in) {
  const std::string activation = in.text("activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh") {
    in.fail(fmt::format("activation_function \"{}\" is not supported; supported: \"gelu_new\"", activation));
  }
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) in.expect_false(key);
  if (!in.boolean("scale_attn_weights", true)) in.fail("'scale_attn_weights' = false is not supported");
  ModelConfig c;
  c.architecture = Architecture::gpt2;
  c.vocab_size = in.count("vocab_size");
  c.width = in.count("n_embd");
  c.ffn_width = in.count("n_inner", 4 * c.width);
  c.num_blocks = in.count("n_layer");
  c.num_heads = c.num_kv_heads = in.count("n_head");
  c.context = in.count("n_positions", in.count("n_ctx", 1024));
  c.norm_epsilon = in.number("layer_norm_epsilon", 1e-5);
  c.tied_head = in.boolean("tie_word_embeddings", true);
  if (c.width % c.num_heads != 0) in.fail(fmt::format("n_embd ({}) is not divisible by n_head ({})", c.width, c.num_heads));
  c.head_dim = c.width / c.num_heads;
  return c;
}

ModelConfig read_llama(const Reader& in) {
  in.expect("hidden_act", "silu");
  ModelConfig c;
  c.architecture = Architecture::llama;
  c.vocab_size = in.count("vocab_size");
  c.width = in.count("hidden_size");
  c.ffn_width = in.count("intermediate_size");
  c.num_blocks = in.count("num_hidden_layers");
  c.num_heads = in.count("num_attention_heads");
  c.num_kv_heads = in.count("num_key_value_heads", c.num_heads);
  c.context = in.count("max_position_embeddings", 2048);
  c.norm_epsilon = in.number("rms_norm_eps", 1e-6);
  c.rope_theta = in.rope_theta();
  c.tied_head = in.boolean("tie_word_embeddings", false);
  c.attention_bias = in.boolean("attention_bias", false);
  c.mlp_bias = in.boolean("mlp_bias", false);
  if (!in.has("head_dim") && c.width % c.num_heads != 0) {
    in.fail(fmt::format("hidden_size ({}) is not divisible by num_attention_heads ({})", c.width, c.num_heads));
  }
  c.head_dim = in.count("head_dim", c.width / c.num_heads);
  if (c.num_heads % c.num_kv_heads != 0) {
    in.fail(fmt::format("num_attention_heads ({}) is not a multiple of num_key_value_heads ({})", c.num_heads, c.num_kv_heads));
  }
  if (c.head_dim % 2 != 0) in.fail(fmt::format("head_dim ({}) must be even for rotary embeddings", c.head_dim));
  return c;
}

}  // namespace

ModelConfig ModelConfig::from_json(std::string_view text, const std::string& origin) {
  const Reader in(text, origin);
  const std::string type = in.text("model_type", "");
  ModelConfig config;
  if (type == "gpt2") {
    config = read_gpt2(in);
  } else if (type == "llama") {
    config = read_llama(in);
  } else {
    in.fail(fmt::format("architecture \"{}\" is not supported; supported model_type: \"gpt2\", \"llama\"", type));
  }
  if (!(config.norm_epsilon > 0)) in.fail(fmt::format("epsilon of the norms is {}, expected a positive number", config.norm_epsilon));
  config.bos_id = in.token("bos_token_id");
  config.eos_id = in.token("eos_token_id");
  return config;
}

std::string ModelConfig::to_json() const {
  Json json;
  if (architecture == Architecture::gpt2) {
    json = {{"architectures", {"GPT2LMHeadModel"}}, {"model_type", "gpt2"}, {"vocab_size", vocab_size}, {"n_embd", width},
            {"n_inner", ffn_width}, {"n_layer", num_blocks}, {"n_head", num_heads}, {"n_positions", context}, {"n_ctx", context},
            {"layer_norm_epsilon", norm_epsilon}, {"activation_function", "gelu_new"}};
  } else {
    json = {{"architectures", {"LlamaForCausalLM"}}, {"model_type", "llama"}, {"vocab_size", vocab_size}, {"hidden_size", width},
            {"intermediate_size", ffn_width}, {"num_hidden_layers", num_blocks}, {"num_attention_heads", num_heads},
            {"num_key_value_heads", num_kv_heads}, {"head_dim", head_dim}, {"max_position_embeddings", context},
            {"rms_norm_eps", norm_epsilon}, {"rope_theta", rope_theta}, {"attention_bias", attention_bias}, {"mlp_bias", mlp_bias},
            {"hidden_act", "silu"}, {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", rope_theta}}}};
  }
  json["tie_word_embeddings"] = tied_head;
  if (bos_id) json["bos_token_id"] = *bos_id;
  if (eos_id) json["eos_token_id"] = *eos_id;
  json["torch_dtype"] = "float32";
  return json.dump(2) + "\n";
}

std::string embedding_name(const ModelConfig& config) {
  return config.architecture == Architecture::gpt2 ? "wte" : "embed_tokens";
}

std::vector<LayerShape> linear_layers(const ModelConfig& c) {
  std::vector<LayerShape> layers;
  Index block = -1;
  const auto add = [&](const std::string& stem, const std::string& slice, bool bias, Index first_row, Index rows, Index cols,
                       InputSite site) {
    layers.push_back({stem + slice, stem + ".weight", bias ? stem + ".bias" : "", first_row, rows, cols, block, site});
  };
  using enum InputSite;
  add(embedding_name(c), "", false, 0, c.vocab_size, c.width, none);
  const Index q_width = c.num_heads * c.head_dim, kv_width = c.num_kv_heads * c.head_dim;
  for (block = 0; block < c.num_blocks; ++block) {
    if (c.architecture == Architecture::gpt2) {
      const std::string h = fmt::format("h.{}.", block);
      for (const auto& [slice, part] : {std::pair{"[q]", 0}, {"[k]", 1}, {"[v]", 2}}) {
        add(h + "attn.c_attn", slice, true, part * c.width, c.width, c.width, attention);
      }
      add(h + "attn.c_proj", "", true, 0, c.width, c.width, attention_output);
      add(h + "mlp.c_fc", "", true, 0, c.ffn_width, c.width, mlp);
      add(h + "mlp.c_proj", "", true, 0, c.width, c.ffn_width, mlp_hidden);
    } else {
      const std::string l = fmt::format("layers.{}.", block);
      add(l + "self_attn.q_proj", "", c.attention_bias, 0, q_width, c.width, attention);
      add(l + "self_attn.k_proj", "", c.attention_bias, 0, kv_width, c.width, attention);
      add(l + "self_attn.v_proj", "", c.attention_bias, 0, kv_width, c.width, attention);
      add(l + "self_attn.o_proj", "", c.attention_bias, 0, c.width, q_width, attention_output);
      add(l + "mlp.gate_proj", "", c.mlp_bias, 0, c.ffn_width, c.width, mlp);
      add(l + "mlp.up_proj", "", c.mlp_bias, 0, c.ffn_width, c.width, mlp);
      add(l + "mlp.down_proj", "", c.mlp_bias, 0, c.width, c.ffn_width, mlp_hidden);
    }
  }
  block = -1;
  if (!c.tied_head) add("lm_head", "", false, 0, c.vocab_size, c.width, head);
  return layers;
}

std::vector<TensorShape> tensor_shapes(const ModelConfig& c) {
  std::vector<TensorShape> tensors;
  const bool gpt2 = c.architecture == Architecture::gpt2;
  const auto norm = [&](const std::string& stem) {
    tensors.push_back({stem + ".weight", {c.width}});
    if (gpt2) tensors.push_back({stem + ".bias", {c.width}});
  };
  if (gpt2) tensors.push_back({"wpe.weight", {c.context, c.width}});
  for (Index b = 0; b < c.num_blocks; ++b) {
    const std::string block = gpt2 ? fmt::format("h.{}.", b) : fmt::format("layers.{}.", b);
    norm(block + (gpt2 ? "ln_1" : "input_layernorm"));
    norm(block + (gpt2 ? "ln_2" : "post_attention_layernorm"));
  }
  norm(gpt2 ? "ln_f" : "norm");
  for (const auto& layer : linear_layers(c)) {
    if (layer.first_row != 0) continue;  // the further slices of a fused matrix
    const Index fused = layer.name.ends_with("[q]") ? 3 : 1;
    tensors.push_back({layer.tensor, {fused * layer.rows, layer.cols}});
    if (!layer.bias_tensor.empty()) tensors.push_back({layer.bias_tensor, {fused * layer.rows}});
  }
  return tensors;
}

std::vector<TensorShape> other_tensor_shapes(const ModelConfig& config) {
  std::set<std::string> of_layers;
  std::vector<TensorShape> others;
  for (const auto& layer : linear_layers(config)) {
    of_layers.insert({layer.tensor, layer.bias_tensor});
    if (!layer.bias_tensor.empty()) others.push_back({layer.name + ".bias", {layer.rows}});
  }
  for (auto& tensor : tensor_shapes(config)) {
    if (!of_layers.contains(tensor.name)) others.push_back(std::move(tensor));
  }
  return others;
}

Index num_parameters(const ModelConfig& config) {
  Index total = 0;
  for (const auto& tensor : tensor_shapes(config)) {
    Index size = 1;
    for (const Index extent : tensor.shape) size = checked_product(size, extent, tensor.name.c_str());
    total += size;
  }
  return total;
}

}  // namespace kronlab::model
