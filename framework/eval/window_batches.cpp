#include "framework/eval/window_batches.hpp"

#include <algorithm>

namespace kronlab::eval {
namespace {

constexpr Index batch_tokens = 1024;  // of one forward pass where windows are shorter

enum Slot : std::size_t { stream_slot = 16, normed_slot };

}  // namespace

std::vector<Window> usable_windows(const TokenisedText& text, const model::ModelConfig& config, const Protocol& protocol, Index max_windows) {
  protocol.expect_valid(config.context);
  if (text.ids.size() < 2) {
    throw DataError(fmt::format("text '{}' has {} token(s), expected at least 2", text.name, text.ids.size()));
  }
  const auto [low, high] = std::ranges::minmax(text.ids);
  if (low < 0 || high >= config.vocab_size) {
    throw DataError(fmt::format("text '{}': token {} is outside the model's vocabulary of {}", text.name,
                                low < 0 ? low : high, config.vocab_size));
  }
  if (protocol.normaliser == Protocol::Normaliser::word &&
      (max_windows > 0 || protocol.average == Protocol::Average::windows || text.num_words == 0)) {
    throw ConfigError("word perplexity needs the whole text (no max_windows), average = tokens and at least one word");
  }
  const bool wants_passages = protocol.kind == Protocol::Kind::last_word;
  if (wants_passages != !text.passages.empty()) {
    throw DataError(fmt::format("text '{}' {} passages, protocol {} {}", text.name, text.passages.empty() ? "has no" : "is one of", protocol.name(),
                                wants_passages ? "needs them" : "is not for them"));
  }
  auto windows = wants_passages ? text.passages : windows_of(static_cast<Index>(text.ids.size()), protocol, max_windows);
  if (wants_passages && max_windows > 0) windows.resize(std::min(windows.size(), static_cast<std::size_t>(max_windows)));
  if (windows.empty()) throw DataError(fmt::format("text '{}' of {} tokens has no window of {}", text.name, text.ids.size(), protocol.window));
  return windows;
}

std::vector<WindowBatch> batches_of(std::span<const Window> windows, bool are_passages) {
  std::vector<WindowBatch> batches;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const Index length = windows[i].length() - 1;  // the last token is only a target
    if (!batches.empty()) {
      auto& last = batches.back();
      const Index longer = std::max(last.length, length);
      const bool fits = (static_cast<Index>(last.count) + 1) * (longer + 1) <= batch_tokens;
      if (fits && (are_passages || length == last.length)) {
        ++last.count, last.length = longer;
        continue;
      }
    }
    batches.push_back({i, 1, length});
  }
  return batches;
}

BatchTokens::BatchTokens(const TokenisedText& text, std::span<const Window> windows, const WindowBatch& batch) {
  for (const auto& window : windows.subspan(batch.first, batch.count)) {
    const auto begin = text.ids.begin() + window.begin, end = text.ids.begin() + window.end;
    inputs.insert(inputs.end(), begin, end - 1);
    targets.insert(targets.end(), begin + 1, end);
    const auto missing = static_cast<std::size_t>(batch.length - (window.length() - 1));
    inputs.insert(inputs.end(), missing, *(end - 1));  // no token before them sees them
    targets.insert(targets.end(), missing, *(end - 1));
  }
}

ConstTensorView final_states(const model::Transformer& model, std::span<const std::int32_t> inputs, Index length, model::Workspace& workspace) {
  const auto n = static_cast<Index>(inputs.size());
  const auto& config = model.config();
  const TensorView stream = workspace.buffer(stream_slot, n, config.width, workspace.stream_type());
  model.embed(inputs, length, stream);
  for (Index block = 0; block < config.num_blocks; ++block) model.run_block(block, length, stream, workspace);
  const TensorView normed = workspace.buffer(normed_slot, n, config.width, workspace.activation_type());
  model.final_norm(stream, normed);
  return normed;
}

}  // namespace kronlab::eval
