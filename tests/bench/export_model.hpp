#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "framework/model/model_config.hpp"
#include "framework/storage/safetensors.hpp"
#include "framework/tensor/tensor_source.hpp"

namespace kronlab::bench {

/// Writes weights in float32 under their canonical names, token ids as `ids` and what a peer must know of the
/// configuration (metadata `config`) to one safetensors file.
inline void export_model(const std::string& path, const model::ModelConfig& config, const TensorSource& weights,
                         const std::vector<std::int32_t>& ids) {
  std::vector<Tensor> values;
  std::vector<storage::NamedTensor> tensors;
  for (const auto& info : weights.tensors()) {
    values.push_back(weights.load(info.name));
    tensors.push_back({info.name, info.shape, std::as_const(values.back()).view()});
  }
  const auto count = static_cast<Index>(ids.size());
  tensors.push_back({"ids", {count}, MatrixView<const std::int32_t>(ids.data(), 1, count)});
  const std::string text = fmt::format(
      R"({{"num_blocks": {}, "num_heads": {}, "num_kv_heads": {}, "head_dim": {}, "eps": {}, "rope_theta": {}}})",
      config.num_blocks, config.num_heads, config.num_kv_heads, config.head_dim, config.norm_epsilon,
      config.rope_theta);
  storage::write_safetensors(path, tensors, {{"config", text}});
}

}  // namespace kronlab::bench
