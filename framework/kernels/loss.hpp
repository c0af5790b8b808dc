#pragma once

#include <span>
#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// log sum exp over a vocabulary that arrives in slices, and the logit of each row's target: what the mean negative
/// log-likelihood needs, without a row of logits ever being whole.
///
/// Sums are kept in double. The result does not depend on the number of threads.
class StreamingLogLikelihood {
 public:
  /// targets[i]: the index that row i should predict.
  explicit StreamingLogLikelihood(std::span<const std::int32_t> targets);

  /// logits: [rows, slice] f32 or f64, the vocabulary from `first` on.
  void add_slice(ConstTensorView logits, Index first);
  /// -log p(target) of every row, in nats; call after the last slice.
  void negative_log_likelihood(std::span<double> nll) const;
  /// The most likely index of every row (the lowest among equals).
  std::span<const std::int32_t> most_likely() const { return best_; }

 private:
  std::span<const std::int32_t> targets_;
  std::vector<double> largest_, sum_, target_logit_;
  std::vector<std::int32_t> best_;
};

}  // namespace kronlab::kernels
