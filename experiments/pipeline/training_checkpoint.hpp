#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "distill/trainer.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/config/strict_table.hpp"

namespace kronlab::experiments {

// A checkpoint within the distillation of a stage:
//   RUN/checkpoints/stage-K/step-000000120/
//     model.safetensors            the values of all that learns
//     first_moments.safetensors, second_moments.safetensors   of AdamW
//     state.toml                   TrainingState, and the SHA-256 of the files above
//     DONE                         SHA-256 of state.toml; written last: without it the folder is ignored

/// Where a training is, besides values and moments: enough to go on as if it had never stopped, with any number of ranks.
struct TrainingState {
  std::string identity;           ///< of the configuration and the data: only the same one goes on
  Index step = 0;                 ///< steps that were done; the position in the data follows from it
  Index num_updates = 0;          ///< steps that were not skipped
  Index num_skipped_in_row = 0;
  Index best_step = -1;           ///< -1: never validated
  double best_loss = 0.0;         ///< on the validation windows, at best_step
  Index num_worse = 0;            ///< validations since then
  double seconds = 0.0;           ///< of training so far
};

/// The checkpoints of one stage.
class TrainingCheckpoints {
 public:
  explicit TrainingCheckpoints(std::filesystem::path stage_folder) : folder_(std::move(stage_folder)) {}

  /// Writes values, moments and state; the folder is whole or not there. `expect_current` is called on root before it gets
  /// its name, and throws where another process has taken the training over. Collective.
  /// @throws CollectiveError if the disk is full or broken; earlier checkpoints stay as they were
  void write(const comm::Communicator& communicator, const TrainingState& state, distill::Trainer& trainer,
             const std::function<void()>& expect_current) const;
  /// Takes the last complete checkpoint up, or says that there is none. A damaged one is named in a warning, and the one
  /// before it is taken. Collective.
  /// @throws CollectiveError if all are damaged, or the last is of another configuration or written by a newer version
  std::optional<TrainingState> resume(const comm::Communicator& communicator, const std::string& identity, distill::Trainer& trainer) const;
  /// Only the values of a checkpoint, such as the best one. Collective. @throws CollectiveError if it is damaged
  void load_values(const comm::Communicator& communicator, Index step, const model::Parameters& parameters) const;
  /// Removes all but the last `keep` and the best one. On root.
  void prune(Index keep, Index best_step) const;

  /// Of the complete checkpoints, ascending.
  std::vector<Index> steps() const;
  std::filesystem::path folder_of(Index step) const;

 private:
  /// @throws DataError if state.toml is not what DONE says, ConfigError if it is of a newer version
  config::StrictTable state_table(Index step) const;
  TrainingState read_state(Index step) const;
  /// @throws DataError naming the file whose checksum is wrong
  void expect_whole(Index step) const;

  /// Of a checkpoint that is being written, by this process alone.
  std::filesystem::path unfinished_folder_of(Index step) const;
  void remove_unfinished() const;

  std::filesystem::path folder_;
};

/// Writes the values of all that learns, by name. @throws StorageError
void write_values(const std::string& path, const model::Parameters& parameters);
/// @throws DataError if a tensor is missing or of another shape
void read_values(const std::string& path, const model::Parameters& parameters);

}  // namespace kronlab::experiments
