#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/storage/gguf.hpp"
#include "framework/storage/safetensors.hpp"

namespace kronlab::bench {

using Weights = std::vector<std::pair<std::string, Tensor>>;

/// q, v and the output projection of blocks 0, 5 and 11, from GPT-2's attention as safetensors: [out, in].
inline Weights attention_of_gpt2(const std::string& path) {
  const storage::SafetensorsFile file(path);
  Weights weights;
  for (const char* block : {"0", "5", "11"}) {
    const std::string stem = std::string("h.") + block + ".attn.";
    const Tensor fused = file.load(stem + "c_attn.weight"), output = file.load(stem + "c_proj.weight");  // [in, out]
    const Index n = output.rows();
    const auto add = [&](const char* name, ConstMatrixView<float> stored) {
      Tensor weight(DType::f32, {stored.cols, stored.rows});
      for (Index i = 0; i < stored.rows; ++i) {
        for (Index j = 0; j < stored.cols; ++j) weight.matrix<float>()(j, i) = stored(i, j);
      }
      weights.emplace_back(std::string(block) + " " + name, std::move(weight));
    };
    const auto all = fused.matrix<float>();
    add("q", all.block(0, 0, n, n)), add("v", all.block(0, 2 * n, n, n)), add("proj", output.matrix<float>());
  }
  return weights;
}

inline Tensor tensor_of(const storage::GgufFile& file, const std::string& name) {
  Tensor weight(DType::f32, file.tensors().at(name).shape);
  file.read(name, weight.view(), [](Index i) { return i; });
  return weight;
}

/// Gate and down of blocks 0, 10 and 20 of SmolLM2 as GGUF.
inline Weights mlps_of_smollm2(const std::string& path) {
  const storage::GgufFile file(path);
  Weights weights;
  for (const char* block : {"0", "10", "20"}) {
    for (const char* name : {"gate", "down"})
      weights.emplace_back(std::string(block) + " " + name, tensor_of(file, std::string("blk.") + block + ".ffn_" + name + ".weight"));
  }
  return weights;
}

}  // namespace kronlab::bench
