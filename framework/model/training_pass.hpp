#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "framework/kernels/attention.hpp"
#include "framework/model/parameters.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::model {

/// Which activations a forward pass keeps for its backward.
enum class Recompute {
  none,    ///< all that the gradient needs
  blocks,  ///< only the residual stream between blocks; a block runs again before its backward (Chen et al., Training
           ///< deep nets with sublinear memory cost, 2016)
};

/// Called with the loss gradient in the outputs of a linear layer of a block: [tokens, out], activation type.
using GradientObserver = std::function<void(Index block, const linalg::LinearOperator& layer, ConstTensorView gradient)>;

/// What the owner of a loss adds to a backward pass.
struct BackwardHooks {
  /// Adds the loss gradient in hidden state `index` (stream after `index` blocks; the last: after the final norm) to
  /// `gradient`, which is of the stream's type, or of the activation type for the last.
  std::function<void(Index index, ConstTensorView hidden, TensorView gradient)> hidden;
  /// Attention rows that block `block` should reproduce, if any.
  std::function<std::optional<kernels::AttentionTarget>(Index block)> attention;
  /// The mean KL(target || student) of those rows.
  std::function<void(Index block, double divergence)> attention_divergence;
  GradientObserver output_gradient;
  /// The gradients of Parameters::buckets()[bucket] are complete.
  std::function<void(std::size_t bucket)> bucket_complete;
};

/// What a pass keeps.
struct TrainingPassOptions {
  Precision precision = Precision::fp32;
  Recompute recompute = Recompute::none;
  Index first_block = -1;    ///< backward passes end there; -1: at the embeddings; num_blocks: there is none
  bool all_hidden = false;   ///< hidden states before first_block are kept too
};

/// One forward pass over a micro-batch that keeps what its gradient needs, and the backward pass.
///
/// Arithmetic is that of Transformer::run_block, so the loss is the evaluator's. Gradients are f32 (f64 for
/// Precision::fp64, where the values of what learns are f64 too). Every sum over tokens is in a fixed sequence: results do
/// not depend on the number of threads but for linalg::gemm's f32 and bf16 products.
/// Memory: per token and block 4 (2 width) + a (2 q + 2 kv + ffn (2 ffn for LLaMA)) bytes with a = 4, or 2 for bf16.
class TrainingPass {
 public:
  /// `model` must outlive this.
  TrainingPass(const Transformer& model, const TrainingPassOptions& options);

  /// ids: sequences of `length` tokens one after another.
  void forward(std::span<const std::int32_t> ids, Index length);
  /// The input of the head, [n, width] activation type.
  ConstTensorView normed() const;
  /// Hidden state `index`: the stream after `index` blocks (f32 or f64), the last one after the final norm.
  /// @pre it is kept
  ConstTensorView hidden(Index index) const;
  /// The attention rows of a block as a target for another model. @pre block >= first_block, nothing is recomputed
  kernels::AttentionTarget attention_target(Index block, double weight) const;

  /// Logits of some rows of normed().  logits: [count, vocabulary], stream type
  void logits(Index first_row, TensorView logits) const;
  /// From the loss gradient in those logits: the gradient of the head's weight is added, that in normed() written to
  /// d_normed [count, width], activation type.
  void backward_head(Index first_row, ConstTensorView d_logits, TensorView d_normed, const Gradients* gradients);
  /// From the gradient in normed() through all blocks to the embeddings. d_normed is used up. `gradients` may be null:
  /// nothing learns, hooks observe.
  void backward(TensorView d_normed, const Gradients* gradients, const BackwardHooks& hooks);

  const TrainingPassOptions& options() const { return options_; }
  Workspace& workspace() { return workspace_; }

 private:
  /// Of one block: its input stream, and what stands between its products.
  struct Kept {
    Tensor query, key, value, mixed, middle, up, gate;
  };
  const Kept& kept_of(Index block) const;
  Kept& kept(Index block) { return const_cast<Kept&>(kept_of(block)); }
  TensorView stream(Index index);
  std::size_t stream_slot(Index index) const;
  void forward_block(Index block, ConstTensorView in, Kept& kept, TensorView out);
  TensorView mlp_hidden(Index block, const Kept& kept, TensorView hidden);
  void backward_mlp(Index block, const Kept& kept, TensorView d_stream, const Gradients* gradients, const BackwardHooks& hooks);
  void backward_attention(Index block, const Kept& kept, TensorView d_stream, const Gradients* gradients, const BackwardHooks& hooks);
  void backward_layer(Index block, const LinearLayer& layer, ConstTensorView x, ConstTensorView dy, std::optional<TensorView> dx, linalg::Write write,
                      const Gradients* gradients, const BackwardHooks& hooks) const;
  void backward_norm(const Norm& norm, ConstTensorView x, ConstTensorView dy, TensorView dx, const Gradients* gradients) const;
  void backward_embedding(ConstTensorView d_stream, const Gradients* gradients) const;
  /// The gradient in the stream as the activation type.
  ConstTensorView as_activation(ConstTensorView stream);
  kernels::AttentionShape attention_shape() const;

  const Transformer& model_;
  const ModelConfig& config_;
  TrainingPassOptions options_;  ///< first_block 0 for the embeddings too
  bool ends_at_embedding_ = true;
  Workspace workspace_;
  std::vector<std::int32_t> ids_;
  Index length_ = 0;
  std::vector<Tensor> streams_;  ///< where stream_slot says
  std::vector<Kept> kept_;       ///< of the blocks from first_block on; those before share the first
  Tensor normed_;
};

}  // namespace kronlab::model
