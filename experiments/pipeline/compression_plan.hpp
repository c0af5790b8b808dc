#pragma once

#include <map>
#include <string>
#include <vector>

#include "experiments/pipeline/experiment_spec.hpp"

namespace kronlab::experiments {

/// A weight that a stage decomposes: a layer, or a factor of a layer that an earlier stage decomposed (`wte.left`).
struct PlannedLayer {
  std::string name;      ///< "wte.left"
  std::string layer;     ///< "wte"
  std::string factor;    ///< "left"; empty: the layer itself
  std::size_t part = 0;  ///< of the stage
  std::string method;    ///< "permuted(kronecker)"
  Index block = -1;
  model::InputSite site = model::InputSite::none;  ///< none where no statistics exist: embeddings, factors
  Index rows = 0, cols = 0;
  Index parameters_before = 0, parameters_after = 0;
  Index bytes_after = 0;
  bool has_bound = false;  ///< both are the most that it can take: how much depends on the weight
  Index gradient_moments = 0;   ///< numbers of the second moments of its output gradients that are gathered
  double cost = 0.0;            ///< multiply-adds of decomposition and searches, roughly
  Index num_starts = 1;         ///< of its permutation search
  double start_cost = 0.0;      ///< multiply-adds of one of them
  bool is_absorbed = false;     ///< its search is one with its partners': see hidden_units.hpp
  bool is_distributed = false;  ///< larger than parallel.distribute_above: decomposed by all ranks together
};

/// Size of a whole model. Bytes are those of its numbers as stored by kronlab: float32, permutations 4 bytes an index.
struct ModelSize {
  Index parameters = 0;               ///< a tied head counted once
  Index parameters_without_head = 0;  ///< without the head's weight where it is untied
  Index stored_bytes = 0;
  bool is_bound = false;  ///< of the most that it can take

  /// A layer is decomposed.
  void add(const PlannedLayer& layer);
};

/// What a stage will do, and the model after it.
struct PlannedStage {
  std::string name;
  std::string method;  ///< of all its parts: "permuted(kronecker) + svd"
  std::vector<PlannedLayer> layers;
  ModelSize after;
};

/// Which layers, by which decomposer, in which stages: known before any weight is read.
struct CompressionPlan {
  model::ModelConfig config;  ///< of the student, before the first stage
  ModelSize teacher;          ///< the model as it is on disk, dense
  ModelSize dense;            ///< the student before the first stage
  std::vector<PlannedStage> stages;

  /// @throws ConfigError on a pattern that matches nothing, a shape that does not suit, a layer that is compressed
  /// twice, a block that does not exist, or a protocol or calibration window beyond the model's context
  static CompressionPlan make(const ExperimentSpec& spec, const model::ModelConfig& model);
};

/// The configuration of the student: head and blocks as the experiment wants them.
model::ModelConfig student_config(const ExperimentSpec& spec, model::ModelConfig model);

}  // namespace kronlab::experiments
