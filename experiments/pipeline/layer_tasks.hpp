#pragma once

#include <vector>

#include "experiments/pipeline/compression_plan.hpp"
#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// One start of a layer's permutation search; with the first one goes the decomposition.
struct LayerTask {
  std::size_t layer = 0;  ///< place in the list of layers
  Index start = 0;
};

/// Which rank does what for some layers, by estimated cost: the same on every rank.
class LayerTasks {
 public:
  LayerTasks(const std::vector<const PlannedLayer*>& layers, int num_ranks);

  /// The rank that decomposes a layer.
  int owner(std::size_t layer) const { return partition_.owner(first_task_[layer]); }
  /// All ranks that do something for a layer, the owner first.
  std::vector<int> ranks_of(std::size_t layer) const;
  const std::vector<LayerTask>& all() const { return tasks_; }
  int rank_of(std::size_t task) const { return partition_.owner(static_cast<Index>(task)); }

 private:
  std::vector<Index> first_task_;  ///< by layer
  std::vector<LayerTask> tasks_;   ///< layer after layer, start after start
  comm::WorkPartition partition_;
};

}  // namespace kronlab::experiments
