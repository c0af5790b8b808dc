#include "experiments/pipeline/sensitivity_probe.hpp"

#include <algorithm>
#include <cmath>

#include "framework/kernels/divergence.hpp"

namespace kronlab::experiments {
namespace {

constexpr Index batch_tokens = 1024;
constexpr Index rows_at_once = 64;  // whose logits exist at one time, of all the vocabulary

enum Slot : std::size_t { stream_slot = 16, normed_slot, logits_slot, reference_slot };

Tensor copy_of(ConstTensorView values) {
  Tensor copy = Tensor::uninitialised(values.dtype, {values.rows, values.cols});
  convert(values, copy.view());
  return copy;
}

double log_of(double probability) { return std::log(std::max(probability, 1e-300)); }

}  // namespace

SensitivityProbe::SensitivityProbe(const model::Transformer& reference, std::span<const std::int32_t> ids, Index window, model::Precision precision,
                                   Index kept_logits)
    : reference_(reference), window_(window), workspace_(precision) {
  const Index num_windows = (static_cast<Index>(ids.size()) - 1) / window, together = std::max<Index>(1, batch_tokens / window);
  KRONLAB_EXPECTS(num_windows > 0, "{} tokens for windows of {} and one more", ids.size(), window);
  const auto& config = reference.config();
  const bool keeps_logits = num_windows * window * config.vocab_size * size_of(workspace_.stream_type()) <= kept_logits;
  for (Index first = 0; first < num_windows; first += together) {
    const auto begin = static_cast<std::size_t>(first * window), size = static_cast<std::size_t>(std::min(together, num_windows - first) * window);
    Batch batch{ids.subspan(begin, size), ids.subspan(begin + 1, size), {}, {}, {}, {}};
    const auto n = static_cast<Index>(size);
    batch.stream = Tensor::uninitialised(workspace_.stream_type(), {n, config.width});
    reference.embed(batch.inputs, window, batch.stream.view());
    Tensor stream = copy_of(batch.stream.view());
    for (Index block = 0; block < config.num_blocks; ++block) reference.run_block(block, window, stream.view(), workspace_);
    batch.normed = Tensor::uninitialised(workspace_.activation_type(), {n, config.width});
    reference.final_norm(stream.view(), batch.normed.view());
    if (keeps_logits) {
      batch.logits = Tensor::uninitialised(workspace_.stream_type(), {n, reference.head().rows()});
      reference.head().apply(batch.normed.view(), batch.logits.view());
    }
    batches_.push_back(std::move(batch));
  }
}

void SensitivityProbe::run_reference(Batch& batch) {
  if (!batch.behind.is_empty()) return;
  batch.behind = copy_of(batch.stream.view());
  reference_.run_block(block_, window_, batch.behind.view(), workspace_);
}

void SensitivityProbe::advance_to(Index block) {
  KRONLAB_EXPECTS(block >= block_, "block {} after block {}", block, block_);
  for (; block_ < block; ++block_) {
    for (auto& batch : batches_) {
      run_reference(batch);
      batch.stream = std::move(batch.behind);
      batch.behind = Tensor();
    }
  }
}

void SensitivityProbe::compare_streams(const Tensor& reference, ConstTensorView changed) {
  const auto x = to_matrix<double>(reference.view()), y = to_matrix<double>(changed);
  for (Index i = 0; i < x.size(); ++i) {
    const double difference = x.data()[i] - y.data()[i];
    squared_difference_ += difference * difference, squared_norm_ += x.data()[i] * x.data()[i];
  }
}

void SensitivityProbe::compare_logits(Batch& batch, const model::Transformer& changed, ConstTensorView normed, Deviation& deviation) {
  std::vector<kernels::RowDivergence> rows(static_cast<std::size_t>(rows_at_once));
  for (Index first = 0; first < normed.rows; first += rows_at_once) {
    const Index count = std::min(rows_at_once, normed.rows - first), vocabulary = changed.head().rows();
    const TensorView logits = workspace_.buffer(logits_slot, count, vocabulary, workspace_.stream_type());
    changed.head().apply(normed.block(first, 0, count, normed.cols), logits);
    ConstTensorView reference;
    if (!batch.logits.is_empty()) {
      reference = batch.logits.view().block(first, 0, count, vocabulary);
    } else {
      const TensorView again = workspace_.buffer(reference_slot, count, vocabulary, workspace_.stream_type());
      reference_.head().apply(batch.normed.view().block(first, 0, count, normed.cols), again);
      reference = again;
    }
    const auto found = std::span(rows).first(static_cast<std::size_t>(count));
    kernels::divergences(reference, logits, batch.targets.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), found);
    for (Index i = 0; i < count; ++i) {
      if ((first + i) % window_ == 0) deviation.kl.emplace_back(), deviation.loss_change.emplace_back();
      const auto& row = found[static_cast<std::size_t>(i)];
      deviation.kl.back().weight += 1, deviation.loss_change.back().weight += 1;
      deviation.kl.back().loss += row.kl;
      deviation.loss_change.back().loss += log_of(row.reference_probability) - log_of(row.probability);
      deviation.top1_agreement += row.has_same_first;
    }
  }
}

Deviation SensitivityProbe::measure(const model::Transformer& changed, Index block) {
  const auto& config = reference_.config();
  KRONLAB_EXPECTS(block >= embedding && block <= config.num_blocks, "block {} of {}", block, config.num_blocks);
  advance_to(std::max<Index>(block, 0));
  Deviation deviation;
  squared_difference_ = squared_norm_ = 0.0;
  Index num_tokens = 0;
  for (auto& batch : batches_) {
    const Index n = batch.stream.rows();
    const TensorView stream = workspace_.buffer(stream_slot, n, config.width, workspace_.stream_type());
    if (block == embedding) {
      changed.embed(batch.inputs, window_, stream);
      compare_streams(batch.stream, stream);
    } else {
      convert(batch.stream.view(), stream);
    }
    for (Index at = std::max<Index>(block, 0); at < config.num_blocks; ++at) {
      changed.run_block(at, window_, stream, workspace_);
      if (at != block) continue;
      run_reference(batch);
      compare_streams(batch.behind, stream);
    }
    const TensorView normed = workspace_.buffer(normed_slot, n, config.width, workspace_.activation_type());
    changed.final_norm(stream, normed);
    compare_logits(batch, changed, normed, deviation);
    num_tokens += n;
  }
  deviation.top1_agreement /= static_cast<double>(num_tokens);
  deviation.stream_error = squared_norm_ > 0 ? std::sqrt(squared_difference_ / squared_norm_) : 0.0;
  return deviation;
}

}  // namespace kronlab::experiments
