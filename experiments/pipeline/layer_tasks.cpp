#include "experiments/pipeline/layer_tasks.hpp"

#include <algorithm>

#include "framework/comm/work_partition.hpp"

namespace kronlab::experiments {
namespace {

/// A weight that all ranks decompose together costs them all the same.
std::vector<double> costs_of(const std::vector<const PlannedLayer*>& layers) {
  std::vector<double> costs;
  for (const auto* layer : layers) {
    const double further = static_cast<double>(layer->num_starts - 1) * layer->start_cost;
    costs.push_back(layer->is_distributed ? 0.0 : layer->cost - further);
    costs.insert(costs.end(), static_cast<std::size_t>(layer->num_starts - 1), layer->start_cost);
  }
  return costs;
}

}  // namespace

LayerTasks::LayerTasks(const std::vector<const PlannedLayer*>& layers, int num_ranks)
    : LayerTasks(layers, std::vector<double>(static_cast<std::size_t>(num_ranks), 1.0)) {}

LayerTasks::LayerTasks(const std::vector<const PlannedLayer*>& layers, const std::vector<double>& speeds)
    : costs_(costs_of(layers)), num_ranks_(speeds.size()), owners_(comm::partition_by_speed(costs_, speeds)) {
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    first_task_.push_back(static_cast<Index>(tasks_.size()));
    for (Index start = 0; start < layers[layer]->num_starts; ++start) tasks_.push_back({layer, start});
  }
}

std::vector<double> LayerTasks::costs_of_ranks() const {
  std::vector<double> costs(num_ranks_);
  for (std::size_t task = 0; task < tasks_.size(); ++task) costs[static_cast<std::size_t>(rank_of(task))] += costs_[task];
  return costs;
}

std::vector<int> LayerTasks::ranks_of(std::size_t layer) const {
  std::vector<int> ranks;
  for (auto task = static_cast<std::size_t>(first_task_[layer]); task < tasks_.size() && tasks_[task].layer == layer; ++task) {
    if (std::ranges::find(ranks, rank_of(task)) == ranks.end()) ranks.push_back(rank_of(task));
  }
  return ranks;
}

}  // namespace kronlab::experiments
