#pragma once

#include <map>
#include <set>
#include <string>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/machine_rates.hpp"

namespace kronlab::experiments {

/// Core seconds of one token on its way through a student, from the shapes of its products and the rates of a machine:
/// products at the rate of their extents, causal attention, what stands between them (bytes), and the head's loss.
class TokenCost {
 public:
  /// The student as stage `last_stage` leaves its layers; -1: dense. `length`: tokens of a sequence.
  TokenCost(const ExperimentSpec& spec, const CompressionPlan& plan, Index last_stage, Index length, const MachineRates& rates);
  /// A dense model of this shape.
  TokenCost(const model::ModelConfig& config, model::Precision precision, Index length, const MachineRates& rates);

  double block(Index index) const;
  double all_blocks() const;
  /// Logits and their log-likelihood.
  double scored_head() const;
  double logits() const { return head_.seconds(*this); }
  /// Forward to the loss, as an evaluation does it.
  double evaluation() const { return all_blocks() + scored_head(); }
  /// From the gradient of the logits through the blocks from `first_block` on, with the gradients of the layers that learn.
  double backward(Index first_block, const std::set<std::string>& learning) const;
  Index num_blocks() const { return config_.num_blocks; }

 private:
  struct Product {
    double macs = 0.0;
    double rows = 1.0, cols = 1.0;  ///< extents that set the rate
    double seconds(const TokenCost& of) const;
  };
  struct Layer {
    Index block = 0;
    Product product;
  };
  double attention() const;
  double elementwise() const;

  model::ModelConfig config_;
  model::Precision precision_;
  Index length_ = 0;
  const MachineRates& rates_;
  std::map<std::string, Layer> layers_;  ///< of the blocks
  std::string head_name_;
  Product head_;
};

}  // namespace kronlab::experiments
