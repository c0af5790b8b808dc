#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "framework/model/sampling.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::model {

/// A text that grows: keys and values of its tokens are kept, so that a token costs one pass over the model.
///
/// Memory: 2 capacity num_kv_heads head_dim activations for each block.
class Generator {
 public:
  /// `model` must outlive this. @pre 0 < capacity <= context
  Generator(const Transformer& model, Precision precision, Index capacity);

  /// Appends tokens, a whole text or one by one, and gives the logits of the last: [1, vocabulary], stream type, valid
  /// until the next call. They are those of a forward pass over the whole text, up to rounding.
  /// @pre at least one id, all in the vocabulary; length() + ids.size() <= capacity()
  ConstTensorView feed(std::span<const TokenId> ids);

  Index length() const { return length_; }  ///< tokens so far
  Index capacity() const { return capacity_; }

 private:
  /// Keys and values of a block: [capacity, num_kv_heads * head_dim].
  struct Cache {
    Tensor keys, values;
  };
  void embed(std::span<const TokenId> ids, TensorView stream) const;
  void attend(Index block, TensorView stream);

  const Transformer& model_;
  const ModelConfig& config_;
  Index capacity_ = 0;
  Index length_ = 0;
  Workspace workspace_;
  std::vector<Cache> caches_;
  Tensor stream_, normed_, query_, mixed_, logits_;
};

/// How a text is continued.
struct GenerationOptions {
  Index max_tokens = 128;
  SamplingOptions sampling;
  std::uint64_t seed = 0;      ///< token i is drawn by RandomStream(seed).child("generate").child(i)
  std::optional<TokenId> end;  ///< ends the text and is no part of it
  Index num_known = 0;         ///< ids from there on are not drawn (a tokenizer may know fewer than the model); 0: all
  Precision precision = Precision::fp32;
};

/// The continuation of a text.
struct Generation {
  enum class Stop { length, end, context };  ///< max_tokens, the token `end`, no room in the model's context
  std::vector<TokenId> ids;
  Stop stop = Stop::length;
  Index num_prompt_tokens = 0;
  double prompt_s = 0.0;
  Index num_steps = 0;  ///< passes over the model behind the prompt's
  double steps_s = 0.0;

  /// 0 where there was no step
  double tokens_per_second() const { return num_steps > 0 ? static_cast<double>(num_steps) / steps_s : 0.0; }
  double prompt_tokens_per_second() const { return static_cast<double>(num_prompt_tokens) / prompt_s; }
};
std::string_view to_string(Generation::Stop stop);

/// Continues a text, token by token, and tells each as it is drawn. The same arguments give the same tokens, as far as
/// linalg::gemm's bits do not depend on the number of threads.
/// @throws ConfigError if max_tokens < 1, the prompt has no token or more than the context, or as sample; DataError if
/// an id of the prompt is not in the model's vocabulary, or as sample
Generation generate(const Transformer& model, std::span<const TokenId> prompt, const GenerationOptions& options,
                    const std::function<void(TokenId)>& on_token = {});

}  // namespace kronlab::model
