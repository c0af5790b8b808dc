#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "experiments/pipeline/experiment_spec.hpp"
#include "framework/storage/model_files.hpp"

namespace kronlab::experiments {

/// Hashes of what a run reads. They and the configuration are its identity.
struct InputHashes {
  std::string model;  ///< of all files of `[model]`, the tokenizer's too
  std::string student_config;  ///< empty: the model's
  std::vector<std::string> calibration;
  std::vector<std::string> distillation;
  std::vector<std::string> evaluation;
  std::vector<std::string> sensitivity;  ///< by stage; empty where it has none
};

/// Hashes of the files that a configuration names; `hash_of` gives the SHA-256 of one, `model_hash` is ModelFiles::hash().
InputHashes input_hashes(const ExperimentSpec& spec, const std::string& model_hash, const std::function<std::string(const std::string& path)>& hash_of);

/// The hash of all that determines a run's result: equal for equal ones, whatever they are called and wherever they lie.
std::string cell_of(const ExperimentSpec& spec, const InputHashes& hashes);

/// All that determines the student before any stage and its evaluation, but the text: a key of caches.
std::string dense_key(const ExperimentSpec& spec, const InputHashes& hashes);
/// All that determines the second moments of its layers' inputs. @pre the experiment has a calibration
std::string statistics_key(const ExperimentSpec& spec, const InputHashes& hashes);

/// The cells of runs, one after another, on one rank: what they read is hashed once.
class CellHasher {
 public:
  /// @throws StorageError if a file that the run reads cannot be read
  std::string cell_of(const ExperimentSpec& spec, const storage::ModelFiles& model);

 private:
  std::map<std::string, std::string> hashes_;  ///< by path
};

}  // namespace kronlab::experiments
