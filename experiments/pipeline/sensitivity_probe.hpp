#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/base/window_loss.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::experiments {

/// How far a changed model is from the one that it was made of, on one text.
struct Deviation {
  std::vector<WindowLoss> kl;           ///< KL(reference || changed), by window
  std::vector<WindowLoss> loss_change;  ///< of the text's tokens: how much larger -log p is, by window
  double top1_agreement = 0.0;          ///< share of tokens whose most likely one is the same
  double stream_error = 0.0;  ///< |Y - Y'|_F / |Y|_F, Y the residual stream behind the changed block (behind the embedding, where that is changed; the
                              ///< head: 0)
};

/// Measures models that differ from a reference in one block, or in their embedding or head. The text's way through the reference
/// is kept: a model costs what is behind its change, so they are measured in the sequence of their blocks. Local to the rank.
class SensitivityProbe {
 public:
  /// Of a change in the embedding.
  static constexpr Index embedding = -1;
  /// Logits of the reference that are kept, in bytes; where they are more, they are computed again for every model.
  static constexpr Index most_kept_logits = Index{1} << 30;

  /// The reference must outlive this. ids: whole windows, and one token more.
  SensitivityProbe(const model::Transformer& reference, std::span<const std::int32_t> ids, Index window, model::Precision precision,
                   Index kept_logits = most_kept_logits);

  /// @param block  that the change is in; num_blocks for the head. @pre not before the block of an earlier call
  Deviation measure(const model::Transformer& changed, Index block);

 private:
  /// Windows that go through a model together.
  struct Batch {
    std::span<const std::int32_t> inputs, targets;
    Tensor stream;  ///< of the reference before block_: [n, width]
    Tensor behind;  ///< and behind it; empty until it is asked for
    Tensor normed;  ///< what the reference's head sees
    Tensor logits;  ///< of the reference; empty: not kept
  };
  void advance_to(Index block);
  void run_reference(Batch& batch);
  void compare_streams(const Tensor& reference, ConstTensorView changed);
  void compare_logits(Batch& batch, const model::Transformer& changed, ConstTensorView normed, Deviation& deviation);

  const model::Transformer& reference_;
  Index window_;
  model::Workspace workspace_;
  std::vector<Batch> batches_;
  Index block_ = 0;
  double squared_difference_ = 0.0, squared_norm_ = 0.0;  ///< of streams, over the batches of one measurement
};

}  // namespace kronlab::experiments
