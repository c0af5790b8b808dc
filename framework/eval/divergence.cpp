#include "framework/eval/divergence.hpp"

#include <algorithm>
#include <cmath>

#include "framework/base/progress.hpp"
#include "framework/eval/window_batches.hpp"
#include "framework/kernels/divergence.hpp"

namespace kronlab::eval {
namespace {

constexpr Index rows_at_once = 64;  // whose logits exist at one time, of all the vocabulary and of both models

enum Slot : std::size_t { model_logits_slot = 20, reference_logits_slot };

/// What each predicted token has, in the sequence of the text; each is computed on one rank, so adding the ranks' arrays is exact.
struct TokenValues {
  explicit TokenValues(std::size_t n) : kl(n), jsd(n), top1(n), top5(n), change(n) {}
  std::vector<double> kl, jsd, top1, top5, change;
  void sum_over(const comm::Communicator& communicator) {
    for (auto* values : {&kl, &jsd, &top1, &top5, &change}) communicator.sum(std::span(*values));
  }
};

/// Both models on windows, and their two workspaces.
class Comparison {
 public:
  Comparison(const model::Transformer& model, const model::Transformer& reference, model::Precision precision)
      : model_(model), reference_(reference), of_model_(precision), of_reference_(precision) {}

  /// Of every row of a batch.
  std::vector<kernels::RowDivergence> rows_of(const BatchTokens& tokens, Index length) {
    const auto x = final_states(model_, tokens.inputs, length, of_model_), y = final_states(reference_, tokens.inputs, length, of_reference_);
    std::vector<kernels::RowDivergence> rows(tokens.inputs.size());
    for (Index row = 0; row < x.rows; row += rows_at_once) {
      const Index count = std::min(rows_at_once, x.rows - row);
      const auto at = static_cast<std::size_t>(row), size = static_cast<std::size_t>(count);
      kernels::divergences(logits(reference_, y, row, count, of_reference_, reference_logits_slot), logits(model_, x, row, count, of_model_, model_logits_slot),
                           std::span(tokens.targets).subspan(at, size), std::span(rows).subspan(at, size));
    }
    return rows;
  }

 private:
  static ConstTensorView logits(const model::Transformer& model, ConstTensorView states, Index row, Index count, model::Workspace& workspace, Slot slot) {
    const TensorView to = workspace.buffer(slot, count, model.head().rows(), workspace.stream_type());
    model.head().apply(states.block(row, 0, count, states.cols), to);
    return to;
  }

  const model::Transformer& model_;
  const model::Transformer& reference_;
  model::Workspace of_model_, of_reference_;
};

/// The values of each window's tokens, summed, with the number of tokens as weight.
std::vector<WindowLoss> by_window(std::span<const Window> windows, const std::vector<double>& values) {
  std::vector<WindowLoss> sums;
  std::size_t at = 0;
  for (const auto& window : windows) {
    auto& own = sums.emplace_back();
    own.weight = static_cast<double>(window.num_scored);
    for (const auto end = at + static_cast<std::size_t>(window.num_scored); at < end; ++at) own.loss += values[at];
  }
  return sums;
}

void fill_shares(std::vector<double> values, double (&at)[std::size(Divergence::shares)]) {
  std::ranges::sort(values);
  for (std::size_t i = 0; i < std::size(Divergence::shares); ++i) {
    const auto rank = std::ceil(Divergence::shares[i] * static_cast<double>(values.size()));
    at[i] = values[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
  }
}

}  // namespace

Divergence divergence(const comm::Communicator& communicator, const model::Transformer& model, const model::Transformer& reference,
                      const TokenisedText& text, const Protocol& protocol, Index max_windows, model::Precision precision, const std::string& what) {
  const auto windows = comm::coordinate(communicator, [&] {
    if (model.config().vocab_size != reference.config().vocab_size) {
      throw DataError(fmt::format("a model with a vocabulary of {} cannot be compared with one of {}", model.config().vocab_size, reference.config().vocab_size));
    }
    return usable_windows(text, model.config(), protocol, max_windows);
  });
  std::vector<std::size_t> first_token;  // by window
  std::size_t num_tokens = 0;
  for (const auto& window : windows) first_token.push_back(num_tokens), num_tokens += static_cast<std::size_t>(window.num_scored);
  const auto batches = batches_of(windows, !text.passages.empty());
  const auto share = comm::block_range(static_cast<Index>(batches.size()), communicator.rank(), communicator.size());
  TokenValues tokens(num_tokens);
  communicator.barrier();
  const double started = now_s();
  comm::coordinate(communicator, [&] {
    Comparison comparison(model, reference, precision);
    Progress progress(what, static_cast<Index>(windows.size()));
    auto next = first_token;
    for (Index b = share.begin; b < share.end; ++b) {
      const auto& batch = batches[static_cast<std::size_t>(b)];
      const auto rows = comparison.rows_of(BatchTokens(text, windows, batch), batch.length);
      for_scored_rows(windows, batch, [&](std::size_t window, std::size_t row) {
        const auto& found = rows[row];
        const std::size_t at = next[window]++;
        tokens.kl[at] = found.kl, tokens.jsd[at] = found.jsd, tokens.top1[at] = found.has_same_first, tokens.top5[at] = found.num_shared_of_5 / 5.0;
        tokens.change[at] = found.probability - found.reference_probability;
      });
      progress.update(static_cast<Index>(windows.size()) * (b + 1 - share.begin) / std::max<Index>(share.size(), 1));
    }
  });
  tokens.sum_over(communicator);
  Divergence result;
  result.seconds = communicator.max(now_s() - started);
  result.predicted_tokens = static_cast<Index>(num_tokens);
  result.kl_windows = by_window(windows, tokens.kl);
  result.kl = mean_loss(result.kl_windows);
  result.jsd = mean_loss(by_window(windows, tokens.jsd));
  result.top1_agreement = mean_loss(by_window(windows, tokens.top1));
  result.top5_agreement = mean_loss(by_window(windows, tokens.top5));
  result.probability_change = mean_loss(by_window(windows, tokens.change));
  double squares = 0;
  for (const double change : tokens.change) squares += change * change;
  result.probability_change_rms = std::sqrt(squares / static_cast<double>(num_tokens));
  fill_shares(std::move(tokens.kl), result.kl_at);
  fill_shares(std::move(tokens.change), result.probability_change_at);
  return result;
}

}  // namespace kronlab::eval
