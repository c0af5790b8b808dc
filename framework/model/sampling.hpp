#pragma once

#include "framework/base/random.hpp"
#include "framework/model/tokenizer.hpp"
#include "framework/tensor/tensor.hpp"

namespace kronlab::model {

/// How the next token is drawn from its logits.
struct SamplingOptions {
  double temperature = 0.8;  ///< of softmax(logits / temperature); 0: always the most likely token
  double top_p = 0.95;       ///< share of the probability that stays, the most likely tokens first

  /// @throws ConfigError naming the option, its value and what was expected
  void expect_valid() const;
};

/// Draws a token from softmax(logits / temperature), cut to its nucleus: the fewest tokens, the most likely first,
/// whose probabilities add up to top_p (Holtzman et al., The curious case of neural text degeneration, 2020).
///
/// Computed in double; among equals the lowest id comes first. One number of `random` is used, none at temperature 0.
/// logits: [1, vocabulary], f32 or f64
/// @throws ConfigError as expect_valid; DataError if a logit is not finite
TokenId sample(ConstTensorView logits, const SamplingOptions& options, RandomStream& random);

}  // namespace kronlab::model
