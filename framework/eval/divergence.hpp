#pragma once

#include "framework/eval/evaluator.hpp"

namespace kronlab::eval {

/// How far a model's predictions are from those of the model that it was made of, over all predicted tokens of a text. p is the
/// reference's distribution of the next token, q the model's; windows are the independent observations of standard errors.
struct Divergence {
  MeanLoss kl;                   ///< KL(p || q), nat per token
  MeanLoss jsd;                  ///< 1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q) / 2; nat per token, at most ln 2
  MeanLoss top1_agreement;       ///< share of tokens whose most likely one is the same
  MeanLoss top5_agreement;       ///< share of p's five most likely tokens that are among q's
  MeanLoss probability_change;   ///< mean of q(token) - p(token) of the tokens of the text
  double probability_change_rms = 0.0;
  /// Of the tokens' KL and change of probability, the values at these shares of them (nearest rank).
  static constexpr double shares[] = {0.01, 0.05, 0.5, 0.95, 0.99, 1.0};
  double kl_at[std::size(shares)] = {}, probability_change_at[std::size(shares)] = {};
  Index predicted_tokens = 0;
  double seconds = 0.0;
  std::vector<WindowLoss> kl_windows;  ///< of kl, in the sequence of the text
};

/// Compares `model` with `reference` on all ranks: each takes a share of the windows, and every number but the time is bit-equal
/// for any number of ranks with the same number of threads. Both vocabularies are the same. Collective. @throws as `evaluate`
Divergence divergence(const comm::Communicator& communicator, const model::Transformer& model, const model::Transformer& reference,
                      const TokenisedText& text, const Protocol& protocol, Index max_windows, model::Precision precision, const std::string& what);

}  // namespace kronlab::eval
