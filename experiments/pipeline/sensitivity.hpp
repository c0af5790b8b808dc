#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/measurement.hpp"
#include "experiments/pipeline/sensitivity_probe.hpp"

namespace kronlab::experiments {

/// Layers of a stage that are changed together to see what they cost the model.
struct SensitivityUnit {
  std::string name;  ///< of the layer, or what the names of its layers have in common: "layers.3.mlp"
  Index block = 0;   ///< as SensitivityProbe::measure takes it
  std::vector<std::string> layers;
};

/// The units of a stage, in the sequence of their blocks: known before any weight is read.
std::vector<SensitivityUnit> sensitivity_units(const SensitivitySpec& spec, const std::vector<PlannedLayer>& layers, Index num_blocks);

/// The rank that measures each unit: a unit costs what is behind its change.
std::vector<int> owners_of(const std::vector<SensitivityUnit>& units, const model::ModelConfig& config, int num_ranks);

/// What a unit costs the model alone.
struct Sensitivity {
  SensitivityUnit unit;
  Deviation deviation;
};

/// What the measurements of one stage depend on.
struct SensitivityInput {
  const SensitivitySpec& spec;
  const std::vector<SensitivityUnit>& units;
  const model::Transformer& reference;   ///< before the stage
  const model::Transformer& compressed;  ///< behind it: all units changed
  const std::vector<std::int32_t>& ids;  ///< spec.text.tokens in whole windows, and one more
  model::Precision precision;
  std::string content;           ///< all that determines `reference` and `ids`
  std::filesystem::path folder;  ///< STORE/cache/sensitivity
  std::string what;              ///< for people: "stage 0"
};

/// Measures every unit, each on one rank (partitioned by estimated cost). Each measurement is kept in `folder` as soon as it is
/// made, by its content: `content`, and what its layers became. What is there is not measured again, for any stage, run or number of
/// ranks; all is bit-equal for any number of ranks. Collective.
/// @throws Interrupted after a signal that asks to stop; what was measured is kept
std::vector<Sensitivity> measure_sensitivities(const comm::Communicator& communicator, const SensitivityInput& input);

/// "each alone, KL in nat/token: 0.812 in all, median 0.0051, most 0.12 for layers.3.mlp.down_proj". @pre there is one
std::string in_words(const std::vector<Sensitivity>& sensitivities);

/// Adds `sensitivity/kl` and what belongs to it, of every unit.
void add(Measured& measured, const std::vector<Sensitivity>& sensitivities, const SensitivitySpec& spec, Index stage);

}  // namespace kronlab::experiments
