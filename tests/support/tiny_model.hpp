#pragma once

#include <filesystem>
#include <string>

#include "framework/model/model_config.hpp"

namespace kronlab::testing {

/// A small LLaMA configuration: 3 blocks of width 32, MLPs of 64 hidden units, 4 heads that share 2 key/value heads.
model::ModelConfig tiny_llama_config();
/// A small GPT-2 configuration: 3 blocks of width 32.
model::ModelConfig tiny_gpt2_config();

/// Writes a Hugging Face folder with random weights and a byte-level BPE tokenizer of 260 pieces: a whole model, made
/// here, for tests of the way from files to numbers.
void write_tiny_model(const std::filesystem::path& folder, const model::ModelConfig& config, std::uint64_t seed = 0);

/// `num_words` words of pronounceable nonsense, a line every dozen, the same for the same seed.
std::string nonsense(Index num_words, std::uint64_t seed = 0);

}  // namespace kronlab::testing
