#include "framework/eval/evaluator.hpp"

#include <algorithm>
#include <cmath>

#include "framework/base/progress.hpp"
#include "framework/kernels/loss.hpp"

namespace kronlab::eval {
namespace {

constexpr Index batch_tokens = 1024;  // tokens of one forward pass where windows are shorter
constexpr Index slice_width = 2048;   // vocabulary entries whose logits exist at one time
constexpr Index whole_rows = 128;     // rows at one time where the head has no slices

enum Slot : std::size_t { stream_slot = 16, normed_slot, logits_slot };

/// Windows that go through the model together: equal lengths, consecutive.
struct Batch {
  std::size_t first = 0;
  std::size_t count = 0;
};

std::vector<Batch> batches_of(std::span<const Window> windows) {
  std::vector<Batch> batches;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const bool fits = !batches.empty() && windows[i].length() == windows[batches.back().first].length() &&
                      static_cast<Index>(batches.back().count + 1) * windows[i].length() <= batch_tokens;
    if (fits) {
      ++batches.back().count;
    } else {
      batches.push_back({i, 1});
    }
  }
  return batches;
}

/// What is summed over the windows; each is computed on one rank, so adding the ranks' arrays is exact.
struct WindowSums {
  explicit WindowSums(std::size_t n) : nll(n), correct(n) {}
  std::vector<double> nll, correct;
};

void score_batch(const model::Transformer& model, const TokenisedText& text, std::span<const Window> windows,
                 model::Workspace& workspace, std::span<double> nll_sum, std::span<double> correct) {
  const Index length = windows.front().length() - 1;  // the last token is only a target
  std::vector<std::int32_t> inputs, targets;
  for (const auto& window : windows) {
    const auto begin = text.ids.begin() + window.begin;
    inputs.insert(inputs.end(), begin, begin + length);
    targets.insert(targets.end(), begin + 1, begin + 1 + length);
  }
  std::vector<double> nll(inputs.size());
  std::vector<std::int32_t> best(inputs.size());
  token_losses(model, inputs, targets, length, workspace, nll, best);
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const auto end = (w + 1) * static_cast<std::size_t>(length);
    for (auto i = end - static_cast<std::size_t>(windows[w].num_scored); i < end; ++i) {
      nll_sum[w] += nll[i];
      correct[w] += best[i] == targets[i] ? 1.0 : 0.0;
    }
  }
}

/// Mean over tokens (or windows) and its standard error, windows as clusters.
void summarise(std::span<const Window> windows, const WindowSums& sums, const Protocol& protocol, Index num_words,
               Evaluation& result) {
  double correct = 0;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    correct += sums.correct[w];
    result.predicted_tokens += windows[w].num_scored;
  }
  const auto num_tokens = static_cast<double>(result.predicted_tokens);
  const bool by_window = protocol.average == Protocol::Average::windows;
  const double scale = protocol.normaliser == Protocol::Normaliser::word ? num_tokens / static_cast<double>(num_words) : 1.0;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const auto n = static_cast<double>(windows[w].num_scored);
    result.windows.push_back(by_window ? WindowLoss{1.0, sums.nll[w] / n} : WindowLoss{n, sums.nll[w] * scale});
  }
  const auto loss = mean_loss(result.windows);
  result.mean_nll = loss.mean, result.standard_error = loss.standard_error;
  result.perplexity = std::exp(result.mean_nll);
  result.top1_accuracy = correct / num_tokens;
}

void expect_usable(const TokenisedText& text, const model::ModelConfig& config, const Protocol& protocol,
                   Index max_windows) {
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
}

}  // namespace

void token_losses(const model::Transformer& model, std::span<const std::int32_t> inputs,
                  std::span<const std::int32_t> targets, Index length, model::Workspace& workspace,
                  std::span<double> nll, std::span<std::int32_t> most_likely) {
  KRONLAB_EXPECTS(inputs.size() == targets.size() && nll.size() == inputs.size(), "{} inputs, {} targets, {} losses",
                  inputs.size(), targets.size(), nll.size());
  const auto n = static_cast<Index>(inputs.size());
  const auto& config = model.config();
  const TensorView stream = workspace.buffer(stream_slot, n, config.width, workspace.stream_type());
  model.embed(inputs, length, stream);
  for (Index block = 0; block < config.num_blocks; ++block) model.run_block(block, length, stream, workspace);
  const TensorView normed = workspace.buffer(normed_slot, n, config.width, workspace.activation_type());
  model.final_norm(stream, normed);
  const auto& head = model.head();
  const Index rows_at_once = head.has_slices() ? n : std::min(n, whole_rows);
  const Index cols_at_once = head.has_slices() ? std::min(slice_width, head.rows()) : head.rows();
  for (Index row = 0; row < n; row += rows_at_once) {
    const Index rows = std::min(rows_at_once, n - row);
    const auto first = static_cast<std::size_t>(row), count = static_cast<std::size_t>(rows);
    kernels::StreamingLogLikelihood likelihood(targets.subspan(first, count));
    const ConstTensorView x = ConstTensorView(normed).block(row, 0, rows, config.width);
    for (Index col = 0; col < head.rows(); col += cols_at_once) {
      const TensorView logits =
          workspace.buffer(logits_slot, rows, std::min(cols_at_once, head.rows() - col), workspace.stream_type());
      if (head.has_slices()) {
        head.apply_slice(x, col, logits);
      } else {
        head.apply(x, logits);
      }
      likelihood.add_slice(logits, col);
    }
    likelihood.negative_log_likelihood(nll.subspan(first, count));
    if (!most_likely.empty()) std::ranges::copy(likelihood.most_likely(), most_likely.begin() + row);
  }
}

Evaluation evaluate(const comm::Communicator& communicator, const model::Transformer& model, const TokenisedText& text,
                    const Protocol& protocol, Index max_windows, model::Precision precision, const std::string& what) {
  const auto windows = comm::coordinate(communicator, [&] {
    expect_usable(text, model.config(), protocol, max_windows);
    auto all = windows_of(static_cast<Index>(text.ids.size()), protocol, max_windows);
    if (all.empty())
      throw DataError(
          fmt::format("text '{}' of {} tokens has no window of {}", text.name, text.ids.size(), protocol.window));
    return all;
  });
  const auto batches = batches_of(windows);
  const auto share = comm::block_range(static_cast<Index>(batches.size()), communicator.rank(), communicator.size());
  WindowSums sums(windows.size());
  communicator.barrier();
  const double started = now_s();
  comm::coordinate(communicator, [&] {
    model::Workspace workspace(precision);
    Progress progress(what, static_cast<Index>(windows.size()));
    for (Index b = share.begin; b < share.end; ++b) {
      const auto [first, count] = batches[static_cast<std::size_t>(b)];
      score_batch(model, text, std::span(windows).subspan(first, count), workspace,
                  std::span(sums.nll).subspan(first, count), std::span(sums.correct).subspan(first, count));
      progress.update(static_cast<Index>(windows.size()) * (b + 1 - share.begin) / std::max<Index>(share.size(), 1));
    }
  });
  communicator.sum(std::span(sums.nll));
  communicator.sum(std::span(sums.correct));
  Evaluation result;
  result.seconds = communicator.max(now_s() - started);
  summarise(windows, sums, protocol, text.num_words, result);
  return result;
}

}  // namespace kronlab::eval
