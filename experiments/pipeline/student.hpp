#pragma once

#include "experiments/pipeline/experiment_spec.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "experiments/pipeline/model_access.hpp"

namespace kronlab::experiments {

/// The model that an experiment starts from: its head and its blocks, all dense. @throws as ModelAccess::load
model::Transformer dense_student(const ExperimentSpec& spec, const ModelAccess& access);

/// Puts factors into their layers. @throws DataError as make_factorization
void install(model::Transformer& student, const Factors& factors);

}  // namespace kronlab::experiments
