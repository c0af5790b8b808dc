#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "framework/model/model_config.hpp"
#include "framework/tensor/tensor_source.hpp"
#include "tests/support/random_matrix.hpp"

namespace kronlab::testing {

/// Tensors in memory, as a model file would give them.
class MemorySource final : public TensorSource {
 public:
  void put(const std::string& name, Tensor tensor) {
    values_[name] = std::move(tensor);
    update();
  }
  void erase(const std::string& name) {
    values_.erase(name);
    update();
  }

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  void read(const std::string& name, TensorView to) const override {
    info(name);
    convert(values_.at(name).view(), to);
  }

 private:
  void update() {
    infos_.clear();
    for (const auto& [name, tensor] : values_) infos_.push_back({name, tensor.shape(), "F32", tensor.size_bytes()});
  }

  std::map<std::string, Tensor> values_;
  std::vector<TensorInfo> infos_;
};

/// Random weights of every tensor that a configuration implies: matrices that keep the length of a vector, gains
/// near 1.
inline MemorySource random_model(const model::ModelConfig& config, std::uint64_t seed) {
  MemorySource source;
  for (const auto& [name, shape] : model::tensor_shapes(config)) {
    Tensor tensor = random_tensor(shape, RandomStream(seed).child(name));
    const bool is_gain = shape.size() == 1 && name.ends_with(".weight");
    const float scale = shape.size() == 1 ? 0.1f : 1.0f / std::sqrt(static_cast<float>(shape.back()));
    for (float& value : tensor.values<float>()) value = value * scale + (is_gain ? 1.0f : 0.0f);
    source.put(name, std::move(tensor));
  }
  return source;
}

}  // namespace kronlab::testing
