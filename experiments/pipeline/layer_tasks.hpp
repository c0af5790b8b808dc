#pragma once

#include <vector>

#include "experiments/pipeline/compression_plan.hpp"

namespace kronlab::experiments {

/// One start of a layer's permutation search; with the first one goes the decomposition.
struct LayerTask {
  std::size_t layer = 0;  ///< place in the list of layers
  Index start = 0;
};

/// Which rank does what for some layers, by estimated cost and speed: the same on every rank.
class LayerTasks {
 public:
  LayerTasks(const std::vector<const PlannedLayer*>& layers, int num_ranks);
  /// On ranks of these speeds, as rank_speeds() measures them.
  LayerTasks(const std::vector<const PlannedLayer*>& layers, const std::vector<double>& speeds);

  /// The rank that decomposes a layer.
  int owner(std::size_t layer) const { return rank_of(static_cast<std::size_t>(first_task_[layer])); }
  /// All ranks that do something for a layer, the owner first.
  std::vector<int> ranks_of(std::size_t layer) const;
  const std::vector<LayerTask>& all() const { return tasks_; }
  int rank_of(std::size_t task) const { return owners_[task]; }
  /// What each rank has to do, as estimated.
  std::vector<double> costs_of_ranks() const;

 private:
  std::vector<double> costs_;      ///< by task
  std::size_t num_ranks_ = 1;
  std::vector<Index> first_task_;  ///< by layer
  std::vector<LayerTask> tasks_;   ///< layer after layer, start after start
  std::vector<int> owners_;        ///< by task
};

}  // namespace kronlab::experiments
