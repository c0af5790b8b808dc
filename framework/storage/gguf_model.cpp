#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/storage/gguf.hpp"
#include "framework/storage/model_files.hpp"

namespace kronlab::storage {
namespace {

using Json = nlohmann::json;

/// What GGUF calls the parts of a block, and what Hugging Face does.
struct PartName {
  const char* gguf;
  const char* llama;
  const char* gpt2;
};
constexpr PartName block_parts[] = {{"attn_q", "self_attn.q_proj", nullptr},
                                    {"attn_k", "self_attn.k_proj", nullptr},
                                    {"attn_v", "self_attn.v_proj", nullptr},
                                    {"attn_qkv", nullptr, "attn.c_attn"},
                                    {"attn_output", "self_attn.o_proj", "attn.c_proj"},
                                    {"ffn_gate", "mlp.gate_proj", nullptr},
                                    {"ffn_up", "mlp.up_proj", "mlp.c_fc"},
                                    {"ffn_down", "mlp.down_proj", "mlp.c_proj"},
                                    {"attn_norm", "input_layernorm", "ln_1"},
                                    {"ffn_norm", "post_attention_layernorm", "ln_2"}};
constexpr PartName model_parts[] = {{"token_embd", "embed_tokens", "wte"},
                                    {"position_embd", nullptr, "wpe"},
                                    {"output_norm", "norm", "ln_f"},
                                    {"output", "lm_head", "lm_head"}};

class GgufModel final : public ModelFiles {
 public:
  explicit GgufModel(const std::string& path)
      : ModelFiles(path), file_(path), architecture_(file_.text("general.architecture")) {
    if (architecture_ != "llama" && architecture_ != "gpt2") {
      throw DataError(fmt::format("'{}': architecture \"{}\" is not supported; supported: \"llama\", \"gpt2\"", path,
                                  architecture_));
    }
    for (const auto& [name, entry] : file_.tensors()) {
      if (name.starts_with("rope_freqs"))
        throw DataError(fmt::format("'{}': RoPE scaling by the tensor '{}' is not supported", path, name));
      if (name == "output.weight" && is_copy_of_embedding(entry)) continue;
      const auto canonical = canonical_name(name);
      sources_[canonical] = name;
      infos_.push_back(
          {canonical, entry.shape, std::string(block_type_name(entry.type)), static_cast<Index>(entry.size)});
    }
    std::ranges::sort(infos_, {}, &TensorInfo::name);
  }

  bool has_weights() const override { return true; }
  const TensorSource& tensors() const override { return view_; }
  std::vector<std::string> file_paths() const override { return {path()}; }
  std::string hash_from(const std::vector<std::string>&, const std::vector<std::string>& digests) const override { return digests.front(); }

  std::optional<std::string> text(const std::string& name) const override {
    if (name == "config.json") return config_json();
    if (name == "tokenizer.json") return tokenizer_json();
    return std::nullopt;
  }

  void read(const std::string& name, TensorView to) const {
    const bool is_query = name.ends_with("self_attn.q_proj.weight"), is_key = name.ends_with("self_attn.k_proj.weight");
    if (!is_query && !is_key) return file_.read(sources_.at(name), to, [](Index row) { return row; });
    const Index heads = is_query ? file_.integer(key("attention.head_count")) : num_kv_heads();
    if (heads < 1 || to.rows % (2 * heads) != 0)
      throw DataError(fmt::format("tensor '{}': {} rows for {} heads", name, to.rows, heads));
    const Index head_dim = to.rows / heads, half = head_dim / 2;
    // Row (head, 2 i + j) of the file, made for rotating neighbours, is row (head, j half + i) of rotate-half.
    file_.read(sources_.at(name), to, [=](Index row) {
      const Index within = row % head_dim;
      return row - within + 2 * (within % half) + within / half;
    });
  }

 private:
  /// The tensors under their canonical names.
  struct View final : TensorSource {
    explicit View(const GgufModel& model) : model_(model) {}
    const std::vector<TensorInfo>& tensors() const override { return model_.infos_; }
    void read(const std::string& name, TensorView to) const override {
      info(name);
      model_.read(name, to);
    }
    const GgufModel& model_;
  };

  std::string key(const std::string& name) const { return architecture_ + "." + name; }
  Index integer(const std::string& name, Index fallback) const {
    return file_.has(key(name)) ? file_.integer(key(name)) : fallback;
  }
  Index num_kv_heads() const { return integer("attention.head_count_kv", file_.integer(key("attention.head_count"))); }

  bool is_copy_of_embedding(const GgufFile::Entry& entry) const {
    const auto embedding = file_.tensors().find("token_embd.weight");
    if (embedding == file_.tensors().end() || embedding->second.type != entry.type ||
        embedding->second.size != entry.size)
      return false;
    return std::ranges::equal(file_.bytes_of(entry), file_.bytes_of(embedding->second));
  }

  std::string canonical_name(const std::string& name) const {
    const auto dot = name.rfind('.');
    const std::string suffix = dot == std::string::npos ? "" : name.substr(dot);
    const std::string stem = name.substr(0, dot);
    const bool gpt2 = architecture_ == "gpt2";
    for (const auto& part : model_parts) {
      const char* wanted = gpt2 ? part.gpt2 : part.llama;
      if (stem == part.gguf && wanted) return wanted + suffix;
    }
    if (stem.starts_with("blk.")) {
      const auto second = stem.find('.', 4);
      const std::string number = stem.substr(4, second - 4);
      for (const auto& part : block_parts) {
        const char* wanted = gpt2 ? part.gpt2 : part.llama;
        if (second != std::string::npos && stem.substr(second + 1) == part.gguf && wanted)
          return fmt::format("{}.{}.{}{}", gpt2 ? "h" : "layers", number, wanted, suffix);
      }
    }
    throw DataError(fmt::format("'{}': tensor '{}' has no place in the {} architecture", path(), name, architecture_));
  }

  std::string config_json() const {
    for (const char* scaling : {"rope.scaling.type", "rope.scaling.factor", "rope.scale_linear"}) {
      if (!file_.has(key(scaling))) continue;
      if (scaling == std::string("rope.scaling.type") && file_.text(key(scaling)) == "none") continue;
      throw DataError(fmt::format("'{}': RoPE scaling ('{}') is not supported", path(), key(scaling)));
    }
    const auto embedding = file_.tensors().find("token_embd.weight");
    if (embedding == file_.tensors().end())
      throw DataError(fmt::format("'{}': tensor 'token_embd.weight' is missing", path()));
    const Index heads = file_.integer(key("attention.head_count"));
    Json json = {{"vocab_size", embedding->second.shape.front()},
                 {"tie_word_embeddings", !sources_.contains("lm_head.weight")},
                 {"torch_dtype", "float32"}};
    if (architecture_ == "gpt2") {
      json.update({{"model_type", "gpt2"},
                   {"architectures", {"GPT2LMHeadModel"}},
                   {"n_embd", file_.integer(key("embedding_length"))},
                   {"n_layer", file_.integer(key("block_count"))},
                   {"n_head", heads},
                   {"n_positions", file_.integer(key("context_length"))},
                   {"n_inner", file_.integer(key("feed_forward_length"))},
                   {"layer_norm_epsilon", shortest(file_.number(key("attention.layer_norm_epsilon")))},
                   {"activation_function", "gelu_new"}});
    } else {
      const double theta = file_.has(key("rope.freq_base")) ? file_.number(key("rope.freq_base")) : 10000.0;
      json.update({{"model_type", "llama"},
                   {"architectures", {"LlamaForCausalLM"}},
                   {"hidden_size", file_.integer(key("embedding_length"))},
                   {"intermediate_size", file_.integer(key("feed_forward_length"))},
                   {"num_hidden_layers", file_.integer(key("block_count"))},
                   {"num_attention_heads", heads},
                   {"num_key_value_heads", num_kv_heads()},
                   {"max_position_embeddings", file_.integer(key("context_length"))},
                   {"hidden_act", "silu"},
                   {"rms_norm_eps", shortest(file_.number(key("attention.layer_norm_rms_epsilon")))},
                   {"rope_theta", theta}});
      if (heads > 0) json["head_dim"] = integer("attention.key_length", file_.integer(key("embedding_length")) / heads);
    }
    for (const char* token : {"bos", "eos"}) {
      const std::string name = fmt::format("tokenizer.ggml.{}_token_id", token);
      if (file_.has(name)) json[fmt::format("{}_token_id", token)] = file_.integer(name);
    }
    return json.dump(2);
  }

  /// The double that a float32 of the file was meant to be: 1e-5, not 9.99999974e-06.
  static double shortest(double value) { return std::stod(fmt::format("{}", static_cast<float>(value))); }

  std::string tokenizer_json() const {
    const std::string& model = file_.text("tokenizer.ggml.model");
    if (model != "gpt2")
      throw DataError(
          fmt::format("'{}': tokenizer \"{}\" is not supported; supported: \"gpt2\" (byte-level BPE)", path(), model));
    const std::string pre = file_.has("tokenizer.ggml.pre") ? file_.text("tokenizer.ggml.pre") : "gpt-2";
    const Json bytes = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
    Json json;
    if (pre == "smollm") {
      json["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers", {Json{{"type", "Digits"}, {"individual_digits", true}}, bytes}}};
    } else if (pre == "gpt-2" || pre == "default") {
      json["pre_tokenizer"] = bytes;
    } else {
      throw DataError(
          fmt::format("'{}': pre-tokenizer \"{}\" is not supported; supported: \"gpt-2\", \"smollm\"", path(), pre));
    }
    const auto& tokens = file_.texts("tokenizer.ggml.tokens");
    Json vocab = Json::object();
    for (std::size_t id = 0; id < tokens.size(); ++id) vocab[tokens[id]] = id;
    json["added_tokens"] = Json::array();
    if (file_.has("tokenizer.ggml.token_type")) {
      const auto& types = file_.integers("tokenizer.ggml.token_type");
      for (std::size_t id = 0; id < std::min(tokens.size(), types.size()); ++id) {
        if (types[id] != 3 && types[id] != 4) continue;  // control and user-defined tokens
        json["added_tokens"].push_back({{"id", id},
                                        {"content", tokens[id]},
                                        {"single_word", false},
                                        {"lstrip", false},
                                        {"rstrip", false},
                                        {"normalized", false},
                                        {"special", true}});
      }
    }
    json["version"] = "1.0";
    json["normalizer"] = nullptr;
    json["decoder"] = bytes;
    json["model"] = {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", file_.texts("tokenizer.ggml.merges")}};
    try {
      return json.dump();
    } catch (const Json::exception& error) {
      throw DataError(fmt::format("'{}': tokenizer: {}", path(), error.what()));
    }
  }

  GgufFile file_;
  std::string architecture_;
  std::map<std::string, std::string> sources_;
  std::vector<TensorInfo> infos_;
  View view_{*this};
};

}  // namespace

std::unique_ptr<ModelFiles> open_gguf(const std::string& path) { return std::make_unique<GgufModel>(path); }

}  // namespace kronlab::storage
