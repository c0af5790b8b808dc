#pragma once

#include <string>
#include <vector>

#include "framework/base/metric.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::experiments {

/// How the speed of a student is measured beside the dense model it was made of, in one process: forward passes of a
/// window, with the losses of its tokens, as an evaluation does them, and of one token behind others, as a generation
/// does them, which memory bounds; then the products of its layers with as many tokens.
struct SpeedProtocol {
  Index window = 0;  ///< tokens
  model::Precision precision = model::Precision::fp32;
  int threads = 1;

  /// A window of 256 tokens, or the model's context, and fewer where the forward passes of such a model would take
  /// long.
  static SpeedProtocol of(Index context, Index num_parameters, model::Precision precision, int threads);
  /// "forward tokens=256 precision=fp32 threads=1": the window's
  std::string window_name() const;
  /// "generate tokens=1 precision=fp32 threads=1"
  std::string token_name() const;
};

/// `speed/tokens_per_second`, `speed/dense_tokens_per_second` and `speed/ratio` (above 1: faster than dense) of the
/// whole model, and `speed/seconds` and `speed/dense_seconds` of the product of each layer that is stored as factors,
/// all for both batches; the same for layers of one shape and size, of which a few are measured. Medians of rounds in
/// which everything has its turn, at least three; about two seconds for a small model.
/// @pre `dense` has the same layers
std::vector<Metric> speed_metrics(const model::Transformer& student, const model::Transformer& dense,
                                  const SpeedProtocol& protocol, Index stage);

/// What the dense model's speed is beside itself.
std::vector<Metric> dense_speed_metrics(const SpeedProtocol& protocol);

/// The student with a dense weight in place of the factors of each layer: as fast as the model that it was made of.
model::Transformer dense_twin(const model::Transformer& student);

}  // namespace kronlab::experiments
