#pragma once

#include <filesystem>

#include "experiments/pipeline/experiment_spec.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "experiments/pipeline/model_access.hpp"

namespace kronlab::experiments {

/// The model that an experiment starts from, all dense: the model's head and blocks as the experiment wants them, or seeded
/// random weights. @throws as ModelAccess::load
model::Transformer dense_student(const ExperimentSpec& spec, const ModelAccess& access);
/// The same, sharing the weights of `model`, the model as it is on disk.
model::Transformer dense_student(const ExperimentSpec& spec, const model::Transformer& model);

/// Puts factors into their layers. @throws DataError as make_factorization
void install(model::Transformer& student, const Factors& factors);
/// The layers that are stored as factors.
Factors factors_of(const model::Transformer& student);

/// Gives the student the values that a training left (write_values), tensors by name. @throws DataError if one is not a
/// tensor of this student
void install_values(model::Transformer& student, const std::string& path);

/// Writes the values of the layers and other tensors in `changed`, and of those that earlier files of this kind hold, where
/// they exist; no file where that is nothing. @throws StorageError
void write_changed(model::Transformer& student, const std::vector<std::string>& changed, const std::vector<std::filesystem::path>& earlier,
                   const std::string& path);

/// The student after its last finished stage. @throws ConfigError if no stage is finished
model::Transformer finished_student(const ExperimentSpec& spec, const ModelAccess& access, const std::filesystem::path& run_folder);
/// Puts what the decompositions of a stage left into the student as the stages before it left it.
void install_compressed(model::Transformer& student, const std::filesystem::path& run_folder, std::size_t stage);
/// Puts what the finished stage `stage` left into the dense student.
void install_stage(model::Transformer& student, const std::filesystem::path& run_folder, std::size_t stage);

}  // namespace kronlab::experiments
