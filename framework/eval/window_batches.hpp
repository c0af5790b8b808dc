#pragma once

#include <span>
#include <vector>

#include "framework/eval/evaluator.hpp"

namespace kronlab::eval {

/// Windows of a text that go through a model together, one sequence each, of one length.
struct WindowBatch {
  std::size_t first = 0;  ///< window
  std::size_t count = 0;
  Index length = 0;  ///< tokens that go in, of each: what is shorter is filled up behind its end
};

/// The windows of a text under a protocol: those of its passages, or those that are cut from it; at most `max_windows` (0: all).
/// @throws DataError if the text is too short or an id is outside the vocabulary; ConfigError as Protocol::expect_valid
std::vector<Window> usable_windows(const TokenisedText& text, const model::ModelConfig& config, const Protocol& protocol, Index max_windows);

/// Consecutive windows, about a thousand tokens at a time. Windows of different lengths meet only where they are passages.
std::vector<WindowBatch> batches_of(std::span<const Window> windows, bool are_passages);

/// A batch's tokens and those that follow them: [count * length].
struct BatchTokens {
  std::vector<std::int32_t> inputs, targets;
  BatchTokens(const TokenisedText& text, std::span<const Window> windows, const WindowBatch& batch);
};

/// Calls body(window, row) for every prediction of a batch that counts, in the sequence of the text.
template <class Body>
void for_scored_rows(std::span<const Window> windows, const WindowBatch& batch, Body body) {
  for (std::size_t w = 0; w < batch.count; ++w) {
    const auto& window = windows[batch.first + w];
    const auto end = w * static_cast<std::size_t>(batch.length) + static_cast<std::size_t>(window.length() - 1);
    for (auto row = end - static_cast<std::size_t>(window.num_scored); row < end; ++row) body(batch.first + w, row);
  }
}

/// What the head sees of sequences of `length` tokens: [inputs, width], in the activation type, in one of the workspace's buffers.
ConstTensorView final_states(const model::Transformer& model, std::span<const std::int32_t> inputs, Index length, model::Workspace& workspace);

}  // namespace kronlab::eval
