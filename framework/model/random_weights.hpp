#pragma once

#include "framework/base/random.hpp"
#include "framework/model/model_config.hpp"
#include "framework/tensor/tensor_source.hpp"

namespace kronlab::model {

/// The weights that training from nothing starts with, as GPT-2's: matrices and embeddings normal with deviation 0.02
/// (positions 0.01), those that write to the residual stream divided by sqrt(2 num_blocks), gains 1, biases 0
/// (Radford et al., Language models are unsupervised multitask learners, 2019). Each tensor has a stream of its own, by
/// its name.
class RandomWeights final : public TensorSource {
 public:
  RandomWeights(const ModelConfig& config, RandomStream random);

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  void read(const std::string& name, TensorView to) const override;

 private:
  ModelConfig config_;
  RandomStream random_;
  std::vector<TensorInfo> infos_;
};

}  // namespace kronlab::model
