#include "tests/support/tiny_model.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/hash.hpp"
#include "framework/model/byte_alphabet.hpp"
#include "framework/storage/safetensors.hpp"
#include "tests/support/random_matrix.hpp"

namespace kronlab::testing {
namespace {

/// Hugging Face's name of a tensor, and whether its matrix is stored transposed there.
std::pair<std::string, bool> stored_form(const model::ModelConfig& config, const std::string& name) {
  if (name.starts_with("lm_head")) return {name, false};
  if (config.architecture == model::Architecture::llama) return {"model." + name, false};
  const bool is_conv1d = name.starts_with("h.") && (name.ends_with("attn.weight") || name.ends_with("proj.weight") ||
                                                    name.ends_with("fc.weight"));
  return {"transformer." + name, is_conv1d};
}

void write_tokenizer(const std::filesystem::path& folder) {
  const model::ByteAlphabet alphabet;
  nlohmann::json vocab;
  for (unsigned byte = 0; byte < 256; ++byte) vocab[alphabet.character(static_cast<unsigned char>(byte))] = byte;
  std::string merges = "#version: 0.2\n";
  int id = 256;
  for (const auto& [left, right] : {std::pair<std::string, std::string>{"t", "a"}, {"r", "e"}, {"ta", "re"}}) {
    vocab[left + right] = id++;
    merges += left + " " + right + "\n";
  }
  vocab["<|endoftext|>"] = id;
  write_file_atomically((folder / "vocab.json").string(), vocab.dump());
  write_file_atomically((folder / "merges.txt").string(), merges);
}

}  // namespace

model::ModelConfig tiny_llama_config() {
  model::ModelConfig config;
  config.architecture = model::Architecture::llama;
  config.vocab_size = 260, config.width = 32, config.ffn_width = 64, config.num_blocks = 3;
  config.num_heads = 4, config.num_kv_heads = 2, config.head_dim = 8, config.context = 64;
  return config;
}

model::ModelConfig tiny_gpt2_config() {
  model::ModelConfig config = tiny_llama_config();
  config.architecture = model::Architecture::gpt2;
  config.ffn_width = 128, config.num_kv_heads = 4;
  return config;
}

void write_tiny_model(const std::filesystem::path& folder, const model::ModelConfig& config, std::uint64_t seed) {
  std::filesystem::create_directories(folder);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, shape] : model::tensor_shapes(config)) {
    const auto [stored, is_transposed] = stored_form(config, name);
    auto extents = shape;
    if (is_transposed) std::swap(extents[0], extents[1]);
    Tensor tensor = random_tensor(extents, RandomStream(seed).child(name));
    const bool is_gain = name.find("norm") != std::string::npos || name.find("ln_") != std::string::npos;
    const float scale = shape.size() == 1 ? 0.1f : 1.0f / std::sqrt(static_cast<float>(shape.back()));
    for (float& value : tensor.values<float>())
      value = value * scale + (is_gain && name.ends_with("weight") ? 1.0f : 0.0f);
    tensors.emplace_back(stored, std::move(tensor));
  }
  std::vector<storage::NamedTensor> named;
  for (const auto& [name, tensor] : tensors) named.push_back({name, tensor.shape(), tensor.view()});
  storage::write_safetensors((folder / "model.safetensors").string(), named);
  write_tokenizer(folder);
  write_file_atomically((folder / "config.json").string(), config.to_json());
}

std::string nonsense(Index num_words, std::uint64_t seed) {
  constexpr const char* syllables[] = {"ta", "re", "mo", "li", "su", "ne", "ka", "vo", "di", "pa", "ru", "se"};
  RandomStream random = RandomStream(seed).child("nonsense");
  std::string text;
  for (Index word = 0; word < num_words; ++word) {
    for (Index i = 1 + random.below(3); i > 0; --i) text += syllables[random.below(12)];
    text += word % 12 == 11 ? ".\n" : " ";
  }
  return text;
}

}  // namespace kronlab::testing
