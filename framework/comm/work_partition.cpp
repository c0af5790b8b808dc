#include <algorithm>
#include <numeric>

#include "framework/comm/communicator.hpp"

namespace kronlab::comm {

Range block_range(Index count, int rank, int size) {
  KRONLAB_EXPECTS(count >= 0 && rank >= 0 && rank < size, "no share {} of {} of {} items", rank, size, count);
  return {count * rank / size, count * (rank + 1) / size};
}

WorkPartition::WorkPartition(std::span<const double> costs, int size) : owners_(costs.size()) {
  KRONLAB_EXPECTS(size > 0, "number of ranks {} must be positive", size);
  std::vector<Index> order(costs.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::ranges::stable_sort(
      order, [&](Index a, Index b) { return costs[static_cast<std::size_t>(a)] > costs[static_cast<std::size_t>(b)]; });
  // heap of (load, rank): the least loaded rank, the lowest number among equals
  std::vector<std::pair<double, int>> loads;
  for (int rank = 0; rank < size; ++rank) loads.emplace_back(0.0, rank);
  for (const Index item : order) {
    std::ranges::pop_heap(loads, std::greater{});
    auto& [load, rank] = loads.back();
    owners_[static_cast<std::size_t>(item)] = rank;
    load += costs[static_cast<std::size_t>(item)];
    std::ranges::push_heap(loads, std::greater{});
  }
  const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
  if (total > 0) imbalance_ = std::ranges::max(loads).first * size / total;
}

std::vector<Index> WorkPartition::items_of(int rank) const {
  std::vector<Index> items;
  for (std::size_t i = 0; i < owners_.size(); ++i) {
    if (owners_[i] == rank) items.push_back(static_cast<Index>(i));
  }
  return items;
}

}  // namespace kronlab::comm
