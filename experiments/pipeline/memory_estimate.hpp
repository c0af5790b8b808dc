#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "experiments/pipeline/compression_plan.hpp"

namespace kronlab::experiments {

/// Resident bytes of one rank (of the one that needs most) while a part of a run goes on, from the configuration alone.
struct MemoryEstimate {
  Index program = 0;      ///< code, libraries and their buffers
  Index weights = 0;      ///< teacher and student: every rank holds all of them
  Index evaluation = 0;   ///< besides the weights, like all that follow
  Index calibration = 0;  ///< statistics and the text's activations; 0 without
  struct Stage {
    Index decomposition = 0;  ///< of the largest layer that a rank decomposes; 0 where there is none
    Index sensitivity = 0;    ///< the text's streams and the dense model's logits; 0 where there is none
    Index training = 0;       ///< gradients, moments, kept activations, logits; 0 where there is none
  };
  std::vector<Stage> stages;

  Index base() const { return program + weights; }
  Index peak() const;
};

MemoryEstimate estimated_memory(const ExperimentSpec& spec, const CompressionPlan& plan, int num_ranks);

/// The peak of estimated_memory().
Index estimated_memory_bytes(const ExperimentSpec& spec, const CompressionPlan& plan, int num_ranks);

/// Names of the layers and other tensors that learn in a stage, of those that the student has after its decompositions.
std::set<std::string> learning_names(const ExperimentSpec& spec, const CompressionPlan& plan, std::size_t stage);
/// Layers and other tensors of the student with their numbers, as a stage leaves them.
std::map<std::string, Index> parameters_by_name(const CompressionPlan& plan, std::size_t last_stage);

}  // namespace kronlab::experiments
