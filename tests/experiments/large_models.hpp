#pragma once

#include "framework/model/model_config.hpp"

namespace kronlab::testing {

inline model::ModelConfig llama(Index num_blocks, Index width, Index ffn_width, Index num_heads, Index num_kv_heads) {
  model::ModelConfig config;
  config.architecture = model::Architecture::llama;
  config.vocab_size = 32000, config.width = width, config.ffn_width = ffn_width, config.num_blocks = num_blocks;
  config.num_heads = num_heads, config.num_kv_heads = num_kv_heads, config.head_dim = width / num_heads;
  config.context = 4096, config.tied_head = false;
  return config;
}
inline model::ModelConfig llama2_7b() { return llama(32, 4096, 11008, 32, 32); }
inline model::ModelConfig llama2_13b() { return llama(40, 5120, 13824, 40, 40); }
inline model::ModelConfig llama2_70b() { return llama(80, 8192, 28672, 64, 8); }

/// The shape of GPT-3 (arXiv:2005.14165), with GPT-2's vocabulary.
inline model::ModelConfig gpt_175b() {
  model::ModelConfig config;
  config.architecture = model::Architecture::gpt2;
  config.vocab_size = 50257, config.width = 12288, config.ffn_width = 4 * 12288, config.num_blocks = 96;
  config.num_heads = config.num_kv_heads = 96, config.head_dim = 128, config.context = 2048;
  return config;
}

}  // namespace kronlab::testing
