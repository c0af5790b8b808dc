#include "experiments/pipeline/part_estimator.hpp"

#include <cmath>
#include <filesystem>
#include <utility>
#include <vector>

namespace kronlab::experiments {

double PartEstimator::tokens_in(const std::string& path) {
  constexpr double bytes_per_token = 4.5;
  std::error_code unknown;
  const auto bytes = std::filesystem::file_size(path, unknown);
  return unknown ? 300'000.0 : static_cast<double>(bytes) / bytes_per_token;
}

double PartEstimator::ceiling(double value) { return std::ceil(value - 1e-9); }

PartEstimate& PartEstimator::part(const char* name, Index stage, Index memory) const {
  PartEstimate made;
  made.name = name, made.stage = stage, made.memory_bytes = static_cast<double>(memory_.base() + memory);
  return result_.parts.emplace_back(std::move(made));
}

double PartEstimator::rounds() const { return std::ceil(std::log2(static_cast<double>(num_ranks_))); }

void PartEstimator::broadcast(PartEstimate& to, double bytes, double times) const {
  to.moved_bytes += moved_by_broadcast(bytes * times, num_ranks_);
  to.seconds += times * (wire(bytes) + rounds() * latency());
}

Index PartEstimator::num_nodes(Index count, int rank) const {
  std::vector<std::pair<Index, Index>> nodes;  // level, index
  const auto range = comm::block_range(count, rank, num_ranks_);
  for (Index i = range.begin; i < range.end; ++i) {
    std::pair<Index, Index> node{0, i};
    while (!nodes.empty() && nodes.back().first == node.first && node.second % 2 == 1 && nodes.back().second + 1 == node.second) {
      node = {node.first + 1, node.second / 2};
      nodes.pop_back();
    }
    nodes.push_back(node);
  }
  return static_cast<Index>(nodes.size());
}

}  // namespace kronlab::experiments
