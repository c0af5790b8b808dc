#include "framework/eval/evaluator.hpp"

#include <algorithm>
#include <cmath>

#include "framework/base/progress.hpp"
#include "framework/eval/window_batches.hpp"
#include "framework/kernels/loss.hpp"

namespace kronlab::eval {
namespace {

constexpr Index slice_width = 2048;   // vocabulary entries whose logits exist at one time
constexpr Index whole_rows = 128;     // rows at one time where the head has no slices

enum Slot : std::size_t { logits_slot = 18 };

/// What is summed over the windows; each is computed on one rank, so adding the ranks' arrays is exact.
struct WindowSums {
  explicit WindowSums(std::size_t n) : nll(n), correct(n) {}
  std::vector<double> nll, correct;
};

void score_batch(const model::Transformer& model, const TokenisedText& text, std::span<const Window> windows, const WindowBatch& batch,
                 model::Workspace& workspace, WindowSums& sums) {
  const BatchTokens tokens(text, windows, batch);
  std::vector<double> nll(tokens.inputs.size());
  std::vector<std::int32_t> best(tokens.inputs.size());
  token_losses(model, tokens.inputs, tokens.targets, batch.length, workspace, nll, best);
  for_scored_rows(windows, batch, [&](std::size_t window, std::size_t row) {
    sums.nll[window] += nll[row];
    sums.correct[window] += best[row] == tokens.targets[row] ? 1.0 : 0.0;
  });
}

/// Mean over tokens (or windows) and its standard error, windows as clusters.
void summarise(std::span<const Window> windows, const WindowSums& sums, const Protocol& protocol, Index num_words,
               Evaluation& result) {
  const bool by_word = protocol.kind == Protocol::Kind::last_word;
  double correct = 0;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const auto n = static_cast<double>(windows[w].num_scored);
    correct += !by_word ? sums.correct[w] : sums.correct[w] == n ? 1.0 : 0.0;
    result.predicted_tokens += windows[w].num_scored;
  }
  const auto num_tokens = static_cast<double>(result.predicted_tokens);
  const bool by_window = protocol.average == Protocol::Average::windows;
  const double scale = protocol.normaliser == Protocol::Normaliser::word ? num_tokens / static_cast<double>(num_words) : 1.0;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const auto n = static_cast<double>(windows[w].num_scored);
    result.windows.push_back(by_word ? WindowLoss{1.0, sums.nll[w]} : by_window ? WindowLoss{1.0, sums.nll[w] / n} : WindowLoss{n, sums.nll[w] * scale});
  }
  const auto loss = mean_loss(result.windows);
  result.mean_nll = loss.mean, result.standard_error = loss.standard_error;
  result.perplexity = std::exp(result.mean_nll);
  result.top1_accuracy = correct / (by_word ? static_cast<double>(windows.size()) : num_tokens);
}

}  // namespace

void token_losses(const model::Transformer& model, std::span<const std::int32_t> inputs,
                  std::span<const std::int32_t> targets, Index length, model::Workspace& workspace,
                  std::span<double> nll, std::span<std::int32_t> most_likely) {
  KRONLAB_EXPECTS(inputs.size() == targets.size() && nll.size() == inputs.size(), "{} inputs, {} targets, {} losses",
                  inputs.size(), targets.size(), nll.size());
  const auto n = static_cast<Index>(inputs.size());
  const ConstTensorView normed = final_states(model, inputs, length, workspace);
  const auto& head = model.head();
  const Index rows_at_once = head.has_slices() ? n : std::min(n, whole_rows);
  const Index cols_at_once = head.has_slices() ? std::min(slice_width, head.rows()) : head.rows();
  for (Index row = 0; row < n; row += rows_at_once) {
    const Index rows = std::min(rows_at_once, n - row);
    const auto first = static_cast<std::size_t>(row), count = static_cast<std::size_t>(rows);
    kernels::StreamingLogLikelihood likelihood(targets.subspan(first, count));
    const ConstTensorView x = normed.block(row, 0, rows, normed.cols);
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
  const auto windows = comm::coordinate(communicator, [&] { return usable_windows(text, model.config(), protocol, max_windows); });
  const auto batches = batches_of(windows, !text.passages.empty());
  const auto share = comm::block_range(static_cast<Index>(batches.size()), communicator.rank(), communicator.size());
  WindowSums sums(windows.size());
  communicator.barrier();
  const double started = now_s();
  comm::coordinate(communicator, [&] {
    model::Workspace workspace(precision);
    Progress progress(what, static_cast<Index>(windows.size()));
    for (Index b = share.begin; b < share.end; ++b) {
      score_batch(model, text, windows, batches[static_cast<std::size_t>(b)], workspace, sums);
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
