#pragma once

#include <span>
#include <vector>

#include "framework/model/transformer.hpp"

namespace kronlab::testing {

/// What a model makes of token ids, step by step.
struct ForwardPass {
  /// The residual stream before the first block and after each; the last one after the final norm. [tokens, width]
  std::vector<Tensor> hidden;
  Tensor logits;  ///< [tokens, vocabulary]
};

/// All steps of a forward pass over sequences of `length` tokens, by hand.
inline ForwardPass forward_pass(const model::Transformer& model, std::span<const std::int32_t> ids, Index length,
                                model::Precision precision) {
  model::Workspace workspace(precision);
  const auto n = static_cast<Index>(ids.size());
  const Index width = model.config().width;
  ForwardPass result;
  Tensor stream = Tensor::uninitialised(workspace.stream_type(), {n, width});
  model.embed(ids, length, stream.view());
  for (Index block = 0; block < model.config().num_blocks; ++block) {
    result.hidden.push_back(stream.clone());
    model.run_block(block, length, stream.view(), workspace);
  }
  Tensor normed = Tensor::uninitialised(workspace.activation_type(), {n, width});
  model.final_norm(stream.view(), normed.view());
  result.logits = Tensor::uninitialised(workspace.stream_type(), {n, model.head().rows()});
  model.head().apply(normed.view(), result.logits.view());
  result.hidden.push_back(std::move(normed));
  return result;
}

}  // namespace kronlab::testing
