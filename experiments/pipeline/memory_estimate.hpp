#pragma once

#include "experiments/pipeline/compression_plan.hpp"

namespace kronlab::experiments {

/// Resident bytes of one rank at the peak of a run on `num_ranks`, from the configuration alone: the largest of an
/// evaluation, a calibration with its statistics, and the training of a stage (weights of teacher and student, gradients,
/// moments, kept activations, logits).
Index estimated_memory_bytes(const ExperimentSpec& spec, const CompressionPlan& plan, int num_ranks);

}  // namespace kronlab::experiments
