#pragma once

#include <string>
#include <vector>

#include "experiments/pipeline/experiment_spec.hpp"
#include "framework/config/sweep.hpp"

namespace kronlab::experiments {

/// What a unit costs when its layers are stored in one way.
struct MeasuredChoice {
  std::string label;   ///< of the run that measured it: "svd 0.5"
  config::Value part;  ///< `decompose` and, if any, `permute`, as in [[stage.part]]
  double kl = 0.0;     ///< nat/token, of the model with only this unit changed
  double bytes = 0.0;
  double seconds = 0.0;  ///< of one token; 0: not measured
};

/// Layers that are changed together, and the ways in which they were.
struct MeasuredUnit {
  std::string name;
  Index block = 0;  ///< -1: the embedding; num_blocks: the head
  std::vector<std::string> layers;
  double dense_bytes = 0.0;
  double dense_seconds = 0.0;
  std::vector<MeasuredChoice> choices;
};

/// The measurements that the runs of a sweep left in a store, each run with `sensitivity` in its first stage: a choice
/// for every unit of it. Runs whose stages are equal (seeds) are one choice, with the mean of what they measured. Paths
/// of the runs belong to `folder`. Not collective.
/// @throws ConfigError if a run is not done, has no sensitivity, changes several layers of a unit in different ways, or
/// differs from the first one in more than its stages
std::vector<MeasuredUnit> measured_units(const std::vector<config::RunSpec>& runs, const std::string& folder,
                                         const std::string& store);

}  // namespace kronlab::experiments
