#pragma once

#include <string>

#include "framework/model/model_config.hpp"
#include "framework/storage/safetensors.hpp"

namespace kronlab::testing {

/// A number per element of one of kronlab's tensors (`h.0.attn.c_attn[q].weight`, `layers.1.input_layernorm.weight`) from
/// a golden file that has them as transformers names and lays them out, behind a prefix ("grad."). f64.
inline Tensor golden_value(const storage::SafetensorsFile& file, const std::string& prefix, const model::ModelConfig& config,
                           const std::string& name) {
  const bool gpt2 = config.architecture == model::Architecture::gpt2;
  std::string tensor = name;
  Index first_row = 0, rows = -1;
  bool is_conv1d = false;
  for (const auto& layer : model::linear_layers(config)) {
    const bool is_bias = name == layer.name + ".bias";
    if (name != layer.name + ".weight" && !is_bias) continue;
    tensor = is_bias ? layer.bias_tensor : layer.tensor;
    first_row = layer.first_row, rows = layer.rows;
    is_conv1d = gpt2 && layer.block >= 0 && !is_bias;
  }
  const Tensor whole = file.load(prefix + (tensor == "lm_head.weight" ? "" : gpt2 ? "transformer." : "model.") + tensor, DType::f64);
  if (rows < 0) return whole.clone();
  const bool is_vector = whole.shape().size() == 1;
  const Index cols = is_vector ? 1 : is_conv1d ? whole.rows() : whole.cols();
  Tensor slice = Tensor::uninitialised(DType::f64, is_vector ? std::vector<Index>{rows} : std::vector<Index>{rows, cols});
  const auto from = whole.matrix<double>();
  double* to = slice.values<double>().data();
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      to[i * cols + j] = is_vector ? from(0, first_row + i) : is_conv1d ? from(j, first_row + i) : from(first_row + i, j);
    }
  }
  return slice;
}

}  // namespace kronlab::testing
