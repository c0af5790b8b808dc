#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experiments/pipeline/distill_spec.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "framework/base/random.hpp"
#include "framework/model/token_stream.hpp"

namespace kronlab::experiments {

/// The windows that a training reads: tokenised once and cached, shuffled, some held out for validation.
class TrainingText {
 public:
  /// data_hashes: SHA-256 of the files. Windows are held out of each file as its weight says. Collective.
  /// @throws CollectiveError as cached_tokens, if a file is shorter than a window, or if nothing is left to train on
  TrainingText(const comm::Communicator& communicator, const TrainingTextSpec& spec, const ModelAccess& model, const std::string& store_path,
               const std::vector<std::string>& data_hashes, RandomStream random);

  /// Of all files once.
  Index num_training_windows() const { return num_training_windows_; }
  Index num_validation_windows() const { return static_cast<Index>(validation_.size()); }
  Index window() const { return window_; }
  /// The ids of the i-th window of an endless sequence, which no number of ranks changes.
  void training_window(Index i, std::span<std::int32_t> ids);
  void validation_window(Index i, std::span<std::int32_t> ids) const;

 private:
  Index window_;
  std::vector<model::TokenStream> streams_;
  std::vector<model::WindowPlace> validation_;
  Index num_training_windows_ = 0;
  std::optional<model::WindowSequence> sequence_;
};

}  // namespace kronlab::experiments
