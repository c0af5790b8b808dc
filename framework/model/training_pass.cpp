#include "framework/model/training_pass.hpp"

#include <algorithm>
#include <utility>

#include "framework/kernels/elementwise.hpp"
#include "framework/kernels/elementwise_backward.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::model {
namespace {

// Slots of the workspace: buffers that one block hands to the next.
enum Slot : std::size_t {
  normed_slot,
  hidden_slot,
  d_stream_slot,
  d_stream_narrow_slot,
  d_normed_slot,
  d_gate_slot,
  d_up_slot,
  d_mixed_slot,
  d_query_slot,
  d_key_slot,
  d_value_slot,
  narrow_logits_slot,
  recomputed_slot
};

}  // namespace

TrainingPass::TrainingPass(const Transformer& model, const TrainingPassOptions& options)
    : model_(model), config_(model.config()), options_(options), workspace_(options.precision) {
  KRONLAB_EXPECTS(options.first_block >= -1 && options.first_block <= config_.num_blocks, "first block {} of {}", options.first_block,
                  config_.num_blocks);
  options_.first_block = std::max<Index>(options.first_block, 0);
  ends_at_embedding_ = options.first_block < 0;
}

const TrainingPass::Kept& TrainingPass::kept_of(Index block) const {
  const bool is_shared = options_.recompute == Recompute::blocks || block < options_.first_block;
  return kept_[is_shared ? 0 : static_cast<std::size_t>(block - options_.first_block)];
}

/// Streams that are not kept take turns in two places.
std::size_t TrainingPass::stream_slot(Index index) const {
  if (options_.all_hidden) return static_cast<std::size_t>(index);
  return static_cast<std::size_t>(index < options_.first_block ? index % 2 : 2 + index - options_.first_block);
}

TensorView TrainingPass::stream(Index index) {
  return resized(streams_[stream_slot(index)], static_cast<Index>(ids_.size()), config_.width, workspace_.stream_type());
}

kernels::AttentionShape TrainingPass::attention_shape() const {
  const auto n = static_cast<Index>(ids_.size());
  return {n / length_, length_, config_.num_heads, config_.num_kv_heads, config_.head_dim};
}

void TrainingPass::forward(std::span<const std::int32_t> ids, Index length) {
  if (ids.size() != ids_.size()) {  // what is kept has the extents of this pass
    streams_ = std::vector<Tensor>(static_cast<std::size_t>(config_.num_blocks + 3));
    kept_ = std::vector<Kept>(static_cast<std::size_t>(std::max<Index>(config_.num_blocks - options_.first_block, 1)));
  }
  ids_.assign(ids.begin(), ids.end());
  length_ = length;
  const auto n = static_cast<Index>(ids.size());
  model_.embed(ids, length, stream(0));
  for (Index block = 0; block < config_.num_blocks; ++block) forward_block(block, stream(block), kept(block), stream(block + 1));
  model_.final_norm(stream(config_.num_blocks), resized(normed_, n, config_.width, workspace_.activation_type()));
}

ConstTensorView TrainingPass::normed() const {
  ConstTensorView view = normed_.view();
  view.rows = static_cast<Index>(ids_.size()), view.cols = view.stride = config_.width;
  return view;
}

ConstTensorView TrainingPass::hidden(Index index) const {
  KRONLAB_EXPECTS(index >= 0 && index <= config_.num_blocks, "hidden state {} of {} blocks", index, config_.num_blocks);
  if (index == config_.num_blocks) return normed();
  KRONLAB_EXPECTS(index >= options_.first_block || options_.all_hidden, "hidden state {} is not kept", index);
  return streams_[stream_slot(index)].view();
}

kernels::AttentionTarget TrainingPass::attention_target(Index block, double weight) const {
  KRONLAB_EXPECTS(block >= options_.first_block && options_.recompute == Recompute::none, "attention of block {} is not kept", block);
  return {kept_of(block).query.view(), kept_of(block).key.view(), config_.num_kv_heads, config_.head_dim, weight};
}

void TrainingPass::forward_block(Index index, ConstTensorView in, Kept& kept, TensorView out) {
  const Block& block = model_.block(index);
  const Index n = in.rows, q_width = config_.num_heads * config_.head_dim, kv_width = config_.num_kv_heads * config_.head_dim;
  const DType type = workspace_.activation_type();
  const TensorView normed = workspace_.buffer(normed_slot, n, config_.width, type);
  const TensorView query = resized(kept.query, n, q_width, type), key = resized(kept.key, n, kv_width, type);
  const TensorView value = resized(kept.value, n, kv_width, type), mixed = resized(kept.mixed, n, q_width, type);
  const TensorView middle = resized(kept.middle, n, config_.width, workspace_.stream_type());
  apply_norm(block.attention_norm, config_.norm_epsilon, in, normed);
  apply(block.query, normed, query);
  apply(block.key, normed, key);
  apply(block.value, normed, value);
  if (config_.architecture == Architecture::llama) {
    const ConstTensorView table = workspace_.rotary(length_, config_);
    kernels::rotate_heads(table, config_.head_dim, length_, query);
    kernels::rotate_heads(table, config_.head_dim, length_, key);
  }
  kernels::causal_attention(attention_shape(), query, key, value, mixed);
  convert(in, middle);
  apply(block.output, mixed, middle, linalg::Write::add);
  apply_norm(block.mlp_norm, config_.norm_epsilon, middle, normed);
  const TensorView up = resized(kept.up, n, config_.ffn_width, type);
  if (config_.architecture == Architecture::gpt2) {
    block.up.weight->apply(normed, up);  // its bias is added with the activation function
  } else {
    apply(block.gate, normed, resized(kept.gate, n, config_.ffn_width, type));
    apply(block.up, normed, up);
  }
  const TensorView hidden = mlp_hidden(index, kept, workspace_.buffer(hidden_slot, n, config_.ffn_width, type));
  convert(middle, out);
  apply(block.down, hidden, out, linalg::Write::add);
}

TensorView TrainingPass::mlp_hidden(Index index, const Kept& kept, TensorView hidden) {
  if (config_.architecture == Architecture::gpt2) {
    kernels::gelu(model_.block(index).up.bias.view(), kept.up.view(), hidden);
  } else {
    kernels::silu_times(kept.up.view(), kept.gate.view(), hidden);
  }
  return hidden;
}

void TrainingPass::logits(Index first_row, TensorView logits) const {
  model_.head().apply(normed().block(first_row, 0, logits.rows, config_.width), logits);
}

void TrainingPass::backward_head(Index first_row, ConstTensorView d_logits, TensorView d_normed, const Gradients* gradients) {
  ConstTensorView dy = d_logits;
  if (dy.dtype != workspace_.activation_type()) {
    const TensorView narrow = workspace_.buffer(narrow_logits_slot, dy.rows, dy.cols, workspace_.activation_type());
    convert(dy, narrow);
    dy = narrow;
  }
  const auto& head = model_.head();
  const auto views = gradients ? gradients->of(&head) : std::span<const TensorView>();
  if (views.empty()) return head.apply_adjoint(dy, d_normed);
  dynamic_cast<const linalg::Trainable&>(head).backward(normed().block(first_row, 0, dy.rows, config_.width), dy, views, d_normed);
}

void TrainingPass::backward(TensorView d_normed, const Gradients* gradients, const BackwardHooks& hooks) {
  const auto n = static_cast<Index>(ids_.size());
  const Index num_blocks = config_.num_blocks;
  const auto complete = [&](Index bucket) {
    if (hooks.bucket_complete) hooks.bucket_complete(static_cast<std::size_t>(bucket));
  };
  const TensorView d_stream = workspace_.buffer(d_stream_slot, n, config_.width, workspace_.stream_type());
  fill_zero(d_stream);
  if (hooks.hidden) hooks.hidden(num_blocks, normed(), d_normed);
  backward_norm(model_.last_norm(), stream(num_blocks), d_normed, d_stream, gradients);
  complete(0);
  for (Index block = num_blocks - 1; block >= 0; --block) {
    if (block >= options_.first_block) {
      Kept& of_block = kept(block);
      const ConstTensorView in = hidden(block);
      if (options_.recompute == Recompute::blocks && block + 1 < num_blocks) {  // the last block's are there still
        forward_block(block, in, of_block, workspace_.buffer(recomputed_slot, n, config_.width, workspace_.stream_type()));
      }
      backward_mlp(block, of_block, d_stream, gradients, hooks);
      backward_attention(block, of_block, d_stream, gradients, hooks);
      if (hooks.hidden) hooks.hidden(block, in, d_stream);
    }
    complete(num_blocks - block);
  }
  if (ends_at_embedding_ && gradients) backward_embedding(d_stream, gradients);
  complete(num_blocks + 1);
}

void TrainingPass::backward_mlp(Index index, const Kept& kept, TensorView d_stream, const Gradients* gradients, const BackwardHooks& hooks) {
  const Block& block = model_.block(index);
  const Index n = d_stream.rows;
  const DType type = workspace_.activation_type();
  const TensorView hidden = workspace_.buffer(hidden_slot, n, config_.ffn_width, type);
  const TensorView d_hidden = workspace_.buffer(d_gate_slot, n, config_.ffn_width, type);
  const TensorView normed = workspace_.buffer(normed_slot, n, config_.width, type);
  const TensorView d_normed = workspace_.buffer(d_normed_slot, n, config_.width, type);
  const ConstTensorView dy = as_activation(d_stream);
  const bool gpt2 = config_.architecture == Architecture::gpt2;
  const bool down_learns = gradients && !gradients->of(block.down.weight.get()).empty();
  if (down_learns) mlp_hidden(index, kept, hidden);
  backward_layer(index, block.down, hidden, dy, d_hidden, linalg::Write::replace, gradients, hooks);
  apply_norm(block.mlp_norm, config_.norm_epsilon, kept.middle.view(), normed);
  if (gpt2) {
    kernels::gelu_backward(block.up.bias.view(), kept.up.view(), d_hidden, hidden);
    backward_layer(index, block.up, normed, d_hidden, d_normed, linalg::Write::replace, gradients, hooks);
  } else {
    const TensorView d_up = workspace_.buffer(d_up_slot, n, config_.ffn_width, type);
    kernels::silu_times_backward(kept.up.view(), kept.gate.view(), d_hidden, d_up, hidden);
    backward_layer(index, block.gate, normed, d_hidden, d_normed, linalg::Write::replace, gradients, hooks);
    backward_layer(index, block.up, normed, d_up, d_normed, linalg::Write::add, gradients, hooks);
  }
  backward_norm(block.mlp_norm, kept.middle.view(), d_normed, d_stream, gradients);
}

void TrainingPass::backward_attention(Index index, const Kept& kept, TensorView d_stream, const Gradients* gradients,
                                      const BackwardHooks& hooks) {
  const Block& block = model_.block(index);
  const Index n = d_stream.rows, q_width = config_.num_heads * config_.head_dim, kv_width = config_.num_kv_heads * config_.head_dim;
  const DType type = workspace_.activation_type();
  const TensorView d_mixed = workspace_.buffer(d_mixed_slot, n, q_width, type);
  const TensorView d_query = workspace_.buffer(d_query_slot, n, q_width, type);
  const TensorView d_key = workspace_.buffer(d_key_slot, n, kv_width, type);
  const TensorView d_value = workspace_.buffer(d_value_slot, n, kv_width, type);
  const TensorView normed = workspace_.buffer(normed_slot, n, config_.width, type);
  const TensorView d_normed = workspace_.buffer(d_normed_slot, n, config_.width, type);
  backward_layer(index, block.output, kept.mixed.view(), as_activation(d_stream), d_mixed, linalg::Write::replace, gradients, hooks);
  const auto target = hooks.attention ? hooks.attention(index) : std::nullopt;
  const double divergence = kernels::causal_attention_backward(attention_shape(), kept.query.view(), kept.key.view(), kept.value.view(),
                                                               d_mixed, d_query, d_key, d_value, target ? &*target : nullptr);
  if (target && hooks.attention_divergence) hooks.attention_divergence(index, divergence);
  if (config_.architecture == Architecture::llama) {
    const ConstTensorView table = workspace_.rotary(length_, config_);
    kernels::rotate_heads(table, config_.head_dim, length_, d_query, kernels::Turn::back);
    kernels::rotate_heads(table, config_.head_dim, length_, d_key, kernels::Turn::back);
  }
  const ConstTensorView in = hidden(index);
  apply_norm(block.attention_norm, config_.norm_epsilon, in, normed);
  backward_layer(index, block.query, normed, d_query, d_normed, linalg::Write::replace, gradients, hooks);
  backward_layer(index, block.key, normed, d_key, d_normed, linalg::Write::add, gradients, hooks);
  backward_layer(index, block.value, normed, d_value, d_normed, linalg::Write::add, gradients, hooks);
  backward_norm(block.attention_norm, in, d_normed, d_stream, gradients);
}

void TrainingPass::backward_layer(Index block, const LinearLayer& layer, ConstTensorView x, ConstTensorView dy, std::optional<TensorView> dx,
                                  linalg::Write write, const Gradients* gradients, const BackwardHooks& hooks) const {
  if (hooks.output_gradient) hooks.output_gradient(block, *layer.weight, dy);
  if (gradients && !layer.bias.is_empty()) kernels::add_column_sums(dy, gradients->of_tensor(layer.bias));
  const auto views = gradients ? gradients->of(layer.weight.get()) : std::span<const TensorView>();
  if (!views.empty()) {
    dynamic_cast<const linalg::Trainable&>(*layer.weight).backward(x, dy, views, dx, write);
  } else if (dx) {
    layer.weight->apply_adjoint(dy, *dx, write);
  }
}

void TrainingPass::backward_norm(const Norm& norm, ConstTensorView x, ConstTensorView dy, TensorView dx, const Gradients* gradients) const {
  const TensorView d_gain = gradients ? gradients->of_tensor(norm.gain) : TensorView();
  if (norm.bias.is_empty()) return kernels::rms_norm_backward(x, norm.gain.view(), config_.norm_epsilon, dy, dx, d_gain);
  const TensorView d_bias = gradients ? gradients->of_tensor(norm.bias) : TensorView();
  kernels::layer_norm_backward(x, norm.gain.view(), config_.norm_epsilon, dy, dx, d_gain, d_bias);
}

void TrainingPass::backward_embedding(ConstTensorView d_stream, const Gradients* gradients) const {
  if (const auto views = gradients->of(&model_.embedding()); !views.empty()) {
    dynamic_cast<const linalg::Trainable&>(model_.embedding()).backward_gather(ids_, d_stream, views);
  }
  if (!model_.positions()) return;
  const TensorView d_positions = gradients->of_tensor(*model_.positions());
  if (d_positions.data) kernels::add_position_gradient(length_, d_stream, d_positions);
}

ConstTensorView TrainingPass::as_activation(ConstTensorView stream) {
  if (stream.dtype == workspace_.activation_type()) return stream;
  const TensorView narrow = workspace_.buffer(d_stream_narrow_slot, stream.rows, stream.cols, workspace_.activation_type());
  convert(stream, narrow);
  return narrow;
}

}  // namespace kronlab::model
