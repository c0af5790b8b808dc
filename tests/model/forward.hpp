#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/model/transformer.hpp"
#include "framework/storage/model_files.hpp"

namespace kronlab::testing {

/// Everything that a forward pass shows: hidden[0] is the embedding, hidden[b] the stream after block b - 1 and, for
/// the last one, the final norm (as transformers counts them); logits of every position. All in double.
struct ForwardPass {
  std::vector<Matrix<double>> hidden;
  Matrix<double> logits;
};

inline ForwardPass forward(const model::Transformer& model, std::span<const std::int32_t> ids, Index length,
                           model::Precision precision) {
  const auto& config = model.config();
  const auto n = static_cast<Index>(ids.size());
  model::Workspace workspace(precision);
  Tensor stream(workspace.stream_type(), {n, config.width}), normed(workspace.activation_type(), {n, config.width});
  Tensor logits(workspace.stream_type(), {n, config.vocab_size});
  ForwardPass pass;
  model.embed(ids, length, stream.view());
  for (Index b = 0; b < config.num_blocks; ++b) {
    pass.hidden.push_back(to_matrix<double>(stream.view()));
    model.run_block(b, length, stream.view(), workspace);
  }
  model.final_norm(stream.view(), normed.view());
  pass.hidden.push_back(to_matrix<double>(normed.view()));
  model.head().apply(normed.view(), logits.view());
  pass.logits = to_matrix<double>(logits.view());
  return pass;
}

inline model::Transformer load_model(const std::string& path) {
  const auto files = storage::ModelFiles::open(path);
  return model::Transformer::load(model::ModelConfig::from_json(files->text("config.json").value(), path),
                                  files->tensors());
}

}  // namespace kronlab::testing
