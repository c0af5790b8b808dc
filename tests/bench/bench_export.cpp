// Writes a LLaMA model's weights in float32, a text's token ids and the configuration to one safetensors file for
// peers.
//   bench_export MODEL TEXT OUT.safetensors
#include <cstdio>

#include "framework/base/hash.hpp"
#include "framework/model/model_config.hpp"
#include "framework/model/tokenizer.hpp"
#include "framework/storage/model_files.hpp"
#include "framework/storage/safetensors.hpp"

namespace {

using namespace kronlab;

int run(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s MODEL TEXT OUT.safetensors\n", argv[0]);
    return 2;
  }
  const auto files = storage::ModelFiles::open(argv[1]);
  const auto config = model::ModelConfig::from_json(files->text("config.json").value(), argv[1]);
  model::TokenizerFiles tokenizer_files;
  tokenizer_files.tokenizer_json = files->text("tokenizer.json").value();
  std::vector<std::int32_t> ids = model::make_tokenizer(tokenizer_files)->encode(read_text_file(argv[2]));
  std::vector<Tensor> values;
  std::vector<storage::NamedTensor> tensors;
  for (const auto& info : files->tensors().tensors()) {
    values.push_back(files->tensors().load(info.name));
    tensors.push_back({info.name, info.shape, static_cast<const Tensor&>(values.back()).view()});
  }
  const auto count = static_cast<Index>(ids.size());
  tensors.push_back({"ids", {count}, MatrixView<const std::int32_t>(ids.data(), 1, count)});
  const std::string text = fmt::format(
      R"({{"num_blocks": {}, "num_heads": {}, "num_kv_heads": {}, "head_dim": {}, "eps": {}, "rope_theta": {}}})",
      config.num_blocks, config.num_heads, config.num_kv_heads, config.head_dim, config.norm_epsilon,
      config.rope_theta);
  storage::write_safetensors(argv[3], tensors, {{"config", text}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
