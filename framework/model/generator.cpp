#include "framework/model/generator.hpp"

#include <algorithm>
#include <utility>

#include "framework/base/progress.hpp"
#include "framework/kernels/attention_cached.hpp"
#include "framework/kernels/elementwise.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::model {
namespace {

void expect_valid(const ModelConfig& config, std::span<const TokenId> prompt, const GenerationOptions& options) {
  options.sampling.expect_valid();
  if (options.max_tokens < 1) throw ConfigError(fmt::format("tokens is {}, expected at least 1", options.max_tokens));
  if (prompt.empty()) throw ConfigError("the prompt has no tokens, expected at least one");
  if (static_cast<Index>(prompt.size()) > config.context) {
    throw ConfigError(
        fmt::format("the prompt has {} tokens, the model's context only {}", prompt.size(), config.context));
  }
  for (const TokenId id : prompt) {
    if (id >= 0 && id < config.vocab_size) continue;
    throw DataError(fmt::format("the prompt has the token {}, the model's vocabulary only {}", id, config.vocab_size));
  }
}

}  // namespace

Generator::Generator(const Transformer& model, Precision precision, Index capacity)
    : model_(model), config_(model.config()), capacity_(capacity), workspace_(precision) {
  KRONLAB_EXPECTS(capacity > 0 && capacity <= config_.context, "room for {} tokens with a context of {}", capacity,
                  config_.context);
  const std::vector<Index> shape = {capacity, config_.num_kv_heads * config_.head_dim};
  for (Index block = 0; block < config_.num_blocks; ++block) {
    caches_.push_back({Tensor::uninitialised(workspace_.activation_type(), shape),
                       Tensor::uninitialised(workspace_.activation_type(), shape)});
  }
}

ConstTensorView Generator::feed(std::span<const TokenId> ids) {
  const auto n = static_cast<Index>(ids.size());
  KRONLAB_EXPECTS(n > 0 && length_ + n <= capacity_, "{} tokens behind {} with room for {}", n, length_, capacity_);
  const TensorView stream = resized(stream_, n, config_.width, workspace_.stream_type());
  embed(ids, stream);
  for (Index block = 0; block < config_.num_blocks; ++block) {
    attend(block, stream);
    model_.run_mlp(block, stream, workspace_);
  }
  length_ += n;
  const TensorView last = resized(normed_, 1, config_.width, workspace_.activation_type());
  model_.final_norm(stream.block(n - 1, 0, 1, config_.width), last);
  const TensorView logits = resized(logits_, 1, model_.head().rows(), workspace_.stream_type());
  model_.head().apply(last, logits);
  return logits;
}

void Generator::embed(std::span<const TokenId> ids, TensorView stream) const {
  model_.embedding().gather_rows(ids, stream);
  const Tensor* positions = model_.positions();
  if (!positions) return;
  kernels::add_positions(positions->view().block(length_, 0, stream.rows, config_.width), stream.rows, stream);
}

void Generator::attend(Index index, TensorView stream) {
  const Block& block = model_.block(index);
  Cache& cache = caches_[static_cast<std::size_t>(index)];
  const Index n = stream.rows, end = length_ + n;
  const Index q_width = config_.num_heads * config_.head_dim, kv_width = config_.num_kv_heads * config_.head_dim;
  const DType type = workspace_.activation_type();
  const TensorView normed = resized(normed_, n, config_.width, type);
  const TensorView query = resized(query_, n, q_width, type), mixed = resized(mixed_, n, q_width, type);
  const TensorView keys = cache.keys.view().block(0, 0, end, kv_width);
  const TensorView values = cache.values.view().block(0, 0, end, kv_width);
  const TensorView new_keys = keys.block(length_, 0, n, kv_width);
  apply_norm(block.attention_norm, config_.norm_epsilon, stream, normed);
  apply(block.query, normed, query);
  apply(block.key, normed, new_keys);
  apply(block.value, normed, values.block(length_, 0, n, kv_width));
  if (config_.architecture == Architecture::llama) {
    const ConstTensorView table = workspace_.rotary(capacity_, config_).block(length_, 0, n, config_.head_dim);
    kernels::rotate_heads(table, config_.head_dim, n, query);
    kernels::rotate_heads(table, config_.head_dim, n, new_keys);
  }
  const kernels::AttentionShape shape{1, end, config_.num_heads, config_.num_kv_heads, config_.head_dim};
  if (length_ == 0) {
    kernels::causal_attention(shape, query, keys, values, mixed);
  } else {
    kernels::cached_attention(shape, query, keys, values, mixed);
  }
  apply(block.output, mixed, stream, linalg::Write::add);
}

std::string_view to_string(Generation::Stop stop) {
  switch (stop) {
    case Generation::Stop::length:
      return "length";
    case Generation::Stop::end:
      return "end";
    case Generation::Stop::context:
      return "context";
  }
  return "?";
}

Generation generate(const Transformer& model, std::span<const TokenId> prompt, const GenerationOptions& options,
                    const std::function<void(TokenId)>& on_token) {
  const ModelConfig& config = model.config();
  expect_valid(config, prompt, options);
  Generation result;
  result.num_prompt_tokens = static_cast<Index>(prompt.size());
  // the last token that is drawn needs no room
  const Index capacity =
      std::min(result.num_prompt_tokens + std::min(options.max_tokens, config.context) - 1, config.context);
  const Index num_known = options.num_known > 0 ? std::min(options.num_known, config.vocab_size) : config.vocab_size;
  const RandomStream random = RandomStream(options.seed).child("generate");
  Generator generator(model, options.precision, capacity);
  const double started_s = now_s();
  ConstTensorView logits = generator.feed(prompt);
  result.prompt_s = now_s() - started_s;
  while (true) {
    RandomStream of_token = random.child(static_cast<std::uint64_t>(result.ids.size()));
    const TokenId id = sample(logits.block(0, 0, 1, num_known), options.sampling, of_token);
    result.stop = Generation::Stop::end;
    if (id == options.end) break;
    result.ids.push_back(id);
    if (on_token) on_token(id);
    result.stop = Generation::Stop::length;
    if (static_cast<Index>(result.ids.size()) == options.max_tokens) break;
    result.stop = Generation::Stop::context;
    if (generator.length() == config.context) break;
    logits = generator.feed(std::span(&id, 1));
    ++result.num_steps;
  }
  result.steps_s = now_s() - started_s - result.prompt_s;
  return result;
}

}  // namespace kronlab::model
