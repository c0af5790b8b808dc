#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/window_loss.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/eval/protocol.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::eval {

/// A tokenised text and what its protocol needs to know of it.
struct TokenisedText {
  std::string name;
  std::vector<std::int32_t> ids;
  Index num_words = 0;
  std::vector<Window> passages = {};  ///< for a protocol whose text is many; what counts of each is its last word
};

/// Perplexity of a model on a text.
struct Evaluation {
  double mean_nll = 0.0;          ///< nats per predicted token (per word, or per passage, where the protocol says so)
  double standard_error = 0.0;    ///< of mean_nll; windows are the independent observations
  double perplexity = 0.0;        ///< exp(mean_nll)
  double top1_accuracy = 0.0;     ///< share of predicted tokens that were the most likely; of last words all of whose tokens were
  Index predicted_tokens = 0;
  double seconds = 0.0;
  std::vector<WindowLoss> windows;  ///< of mean_nll, in the sequence of the text
  double tokens_per_second() const { return seconds > 0 ? static_cast<double>(predicted_tokens) / seconds : 0.0; }
  double perplexity_standard_error() const { return perplexity * standard_error; }
};

/// -log p of the token after each of `inputs`' tokens (given those before it in its sequence), for sequences of `length`.
/// nll[i] belongs to input i; targets[i] is the token that follows it. most_likely may be empty.
void token_losses(const model::Transformer& model, std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets,
                  Index length, model::Workspace& workspace, std::span<double> nll, std::span<std::int32_t> most_likely);

/// Evaluates on all ranks: each takes a share of the windows, and every number but the time is bit-equal for any number
/// of ranks with the same number of threads. Collective.
/// @throws DataError if the text is too short or an id is outside the vocabulary; ConfigError as Protocol::expect_valid
Evaluation evaluate(const comm::Communicator& communicator, const model::Transformer& model, const TokenisedText& text,
                    const Protocol& protocol, Index max_windows, model::Precision precision, const std::string& what);

}  // namespace kronlab::eval
