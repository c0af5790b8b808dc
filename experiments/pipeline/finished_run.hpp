#pragma once

#include <filesystem>
#include <string>

#include "experiments/pipeline/model_access.hpp"

namespace kronlab::experiments {

/// A run of a store, read for what it made.
struct FinishedRun {
  std::string id;
  ModelAccess access;          ///< the model that it started from, whose tokenizer is the student's
  model::Transformer student;  ///< after its last finished stage

  /// Warns where the run is not done. `run` is an id, a unique part of one, or a folder.
  /// @throws as storage::find_run, storage::RunReader, ExperimentSpec::read, ModelAccess, finished_student
  static FinishedRun open(const std::string& store, const std::string& run);
};

}  // namespace kronlab::experiments
