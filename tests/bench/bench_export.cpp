// Writes a LLaMA model's weights in float32, a text's token ids and the configuration to one safetensors file for
// peers.
//   bench_export MODEL TEXT OUT.safetensors
#include <cstdio>

#include "framework/base/hash.hpp"
#include "framework/model/tokenizer.hpp"
#include "framework/storage/model_files.hpp"
#include "tests/bench/export_model.hpp"

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
  const auto ids = model::make_tokenizer(tokenizer_files)->encode(read_text_file(argv[2]));
  bench::export_model(argv[3], config, files->tensors(), ids);
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
