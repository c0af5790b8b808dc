#pragma once

#include <vector>

#include "experiments/pipeline/compression_plan.hpp"

namespace kronlab::experiments {

/// Consecutive layers whose statistics are held at one time, and how far calibration must have come for them.
struct LayerGroup {
  std::vector<std::size_t> layers;  ///< places in the stage's list
  Index last_block = -1;
};

/// Whether calibration gathers second moments of the layer's inputs.
bool has_statistics(const ExperimentSpec& spec, const PlannedLayer& layer);

/// The layers of a stage in groups of whole blocks that the ranks' memory for statistics holds together; of one site each
/// where calibration is sequential.
std::vector<LayerGroup> groups_of_layers(const ExperimentSpec& spec, const std::vector<PlannedLayer>& layers, int num_ranks);

}  // namespace kronlab::experiments
