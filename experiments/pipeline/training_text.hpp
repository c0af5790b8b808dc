#pragma once

#include <span>
#include <string>
#include <vector>

#include "experiments/pipeline/distill_spec.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/token_cache.hpp"
#include "framework/base/random.hpp"
#include "framework/model/token_stream.hpp"

namespace kronlab::experiments {

/// The windows that a training reads: tokenised once and cached, shuffled, some held out for validation.
class TrainingText {
 public:
  /// Collective. @throws CollectiveError as TokenCache, or if nothing is left to train on
  TrainingText(const comm::Communicator& communicator, const TrainingTextSpec& spec, const ModelAccess& access, const std::string& store_path,
               RandomStream random);

  Index num_training_windows() const;  ///< of one epoch
  Index num_validation_windows() const { return static_cast<Index>(validation_.size()); }
  Index window() const { return window_; }
  /// The ids of the i-th window of an endless sequence, which no number of ranks changes.
  void training_window(Index i, std::span<std::int32_t> ids);
  void validation_window(Index i, std::span<std::int32_t> ids) const;

 private:
  Index window_;
  std::vector<model::TokenStream> streams_;
  std::vector<model::Split> splits_;
  std::vector<std::pair<std::size_t, Index>> validation_;  ///< stream, window
  std::optional<model::WindowSequence> sequence_;
};

}  // namespace kronlab::experiments
