#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "experiments/pipeline/calibration.hpp"
#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/layer_outcome.hpp"
#include "experiments/pipeline/statistics_cache.hpp"
#include "framework/base/random.hpp"

namespace kronlab::experiments {

/// What a stage works with.
struct StageInput {
  const ExperimentSpec& spec;
  const CompressionPlan& plan;
  std::size_t stage = 0;
  const std::vector<std::int32_t>& calibration_ids;  ///< empty where there is no calibration
  const StatisticsCache* cache = nullptr;  ///< for statistics of the model as it is before this stage; null: none
  std::filesystem::path search_folder;     ///< keeps permutation searches over a kill; empty: not kept
  std::vector<double> speeds = {};         ///< of the ranks; empty: measured
};

/// What became of a stage's layers, in the plan's sequence, and which tensors beside them moved (biases of hidden units
/// that were put in another order).
struct StageOutcome {
  std::vector<LayerOutcome> layers;
  std::vector<std::string> moved_tensors;
};

/// Statistics, permutation search and decomposition of a stage's layers, group of blocks after group of blocks; each
/// layer on the rank that owns it (partitioned by estimated cost and the ranks' speeds), further starts of its permutation search on others
/// too, or, above parallel.distribute_above, on all ranks together; the results on all ranks and in the student. All but
/// times is bit-equal for any number of ranks, but for what all ranks decompose together. Collective.
/// @throws CollectiveError as Decomposer::decompose
StageOutcome compress_stage(const comm::Communicator& communicator, const StageInput& input, model::Transformer& student);

/// Puts a decomposed weight into a layer, or into a factor of a layer that is decomposed already.
void install(model::Transformer& student, const PlannedLayer& place, const decompositions::FactorizationParts& parts);

}  // namespace kronlab::experiments
