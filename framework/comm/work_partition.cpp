#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "framework/comm/communicator.hpp"

namespace kronlab::comm {
namespace {

/// Items by falling cost, ties by index.
std::vector<Index> by_falling_cost(std::span<const double> costs) {
  std::vector<Index> order(costs.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::ranges::stable_sort(
      order, [&](Index a, Index b) { return costs[static_cast<std::size_t>(a)] > costs[static_cast<std::size_t>(b)]; });
  return order;
}

/// Owners, and the largest load.
struct Packing {
  std::vector<int> owners;
  double largest = 0.0;
};

/// Each item onto the least loaded rank, the lowest number among equals.
Packing longest_first(std::span<const double> costs, const std::vector<Index>& order, int size) {
  Packing packing{std::vector<int>(costs.size()), 0.0};
  std::vector<std::pair<double, int>> loads;  // a heap
  for (int rank = 0; rank < size; ++rank) loads.emplace_back(0.0, rank);
  for (const Index item : order) {
    std::ranges::pop_heap(loads, std::greater{});
    auto& [load, rank] = loads.back();
    packing.owners[static_cast<std::size_t>(item)] = rank;
    load += costs[static_cast<std::size_t>(item)];
    std::ranges::push_heap(loads, std::greater{});
  }
  packing.largest = std::ranges::max(loads).first;
  return packing;
}

/// Each item onto the first rank that it does not lift above `capacity`; nothing where there is none.
std::optional<Packing> first_fit(std::span<const double> costs, const std::vector<Index>& order, int size, double capacity) {
  Packing packing{std::vector<int>(costs.size()), 0.0};
  std::vector<double> loads(static_cast<std::size_t>(size));
  std::map<double, std::size_t> first_by_cost;  // where an equal item fitted last: loads only grow
  for (const Index item : order) {
    const double cost = costs[static_cast<std::size_t>(item)];
    std::size_t& rank = first_by_cost[cost];
    while (rank < loads.size() && loads[rank] + cost > capacity) ++rank;
    if (rank == loads.size()) return std::nullopt;
    packing.owners[static_cast<std::size_t>(item)] = static_cast<int>(rank);
    loads[rank] += cost;
  }
  packing.largest = std::ranges::max(loads);
  return packing;
}

/// Gives of the most loaded rank's items away, or exchanges them for smaller ones, until no such step makes it less loaded
/// than it was, with a partner that stays below that.
class Exchange {
 public:
  Exchange(std::span<const double> costs, int size, const Packing& start) : costs_(costs), owners_(start.owners), ranks_(static_cast<std::size_t>(size)) {
    for (std::size_t item = 0; item < owners_.size(); ++item) insert(static_cast<Index>(item), owners_[item]);
  }

  Packing run(double least) {
    const std::size_t most_steps = 100 * costs_.size();
    for (std::size_t step = 0; step < most_steps && ranks_[most_loaded()].load > least; ++step) {
      if (!improve(most_loaded())) break;
    }
    return {owners_, ranks_[most_loaded()].load};
  }

 private:
  struct Rank {
    double load = 0.0;
    std::map<double, std::set<Index>> items;  ///< by cost
  };

  std::size_t most_loaded() const {
    return static_cast<std::size_t>(std::ranges::max_element(ranks_, {}, &Rank::load) - ranks_.begin());
  }
  void insert(Index item, int rank) {
    const double cost = costs_[static_cast<std::size_t>(item)];
    auto& to = ranks_[static_cast<std::size_t>(rank)];
    to.items[cost].insert(item), to.load += cost;
    owners_[static_cast<std::size_t>(item)] = rank;
  }
  void move(double cost, std::size_t from, std::size_t to) {
    const auto kind = ranks_[from].items.find(cost);
    const Index item = *kind->second.begin();
    kind->second.erase(kind->second.begin());
    if (kind->second.empty()) ranks_[from].items.erase(kind);
    ranks_[from].load -= cost;
    insert(item, static_cast<int>(to));
  }

  bool improve(std::size_t most) {
    double best = ranks_[most].load * (1 - 1e-9), given = 0, taken = 0;
    std::size_t partner = most;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (rank == most) continue;
      for (const auto& [cost, items] : ranks_[most].items) {
        const auto offer = [&](double back) {
          const double larger = std::max(ranks_[most].load - cost + back, ranks_[rank].load + cost - back);
          if (larger < best) best = larger, given = cost, taken = back, partner = rank;
        };
        offer(0);
        for (const auto& [back, others] : ranks_[rank].items) {
          if (back < cost) offer(back);
        }
      }
    }
    if (partner == most) return false;
    if (taken > 0) move(taken, partner, most);
    move(given, most, partner);
    return true;
  }

  std::span<const double> costs_;
  std::vector<int> owners_;
  std::vector<Rank> ranks_;
};

}  // namespace

Range block_range(Index count, int rank, int size) {
  KRONLAB_EXPECTS(count >= 0 && rank >= 0 && rank < size, "no share {} of {} of {} items", rank, size, count);
  return {count * rank / size, count * (rank + 1) / size};
}

WorkPartition::WorkPartition(std::span<const double> costs, int size) {
  KRONLAB_EXPECTS(size > 0, "number of ranks {} must be positive", size);
  const auto order = by_falling_cost(costs);
  Packing best = longest_first(costs, order, size);
  const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
  double least = order.empty() ? 0.0 : std::max(total / size, costs[static_cast<std::size_t>(order.front())]);
  const double bound = least;
  double most = best.largest;
  constexpr double tolerance = 1e-3;
  while (most - least > tolerance * most) {
    const double capacity = (least + most) / 2;
    if (auto packing = first_fit(costs, order, size, capacity)) {
      most = packing->largest;
      if (most < best.largest) best = std::move(*packing);
    } else {
      least = capacity;
    }
  }
  if (best.largest > bound * (1 + tolerance)) best = Exchange(costs, size, best).run(bound);
  owners_ = std::move(best.owners);
  if (total > 0) imbalance_ = best.largest * size / total;
}

std::vector<Index> WorkPartition::items_of(int rank) const {
  std::vector<Index> items;
  for (std::size_t i = 0; i < owners_.size(); ++i) {
    if (owners_[i] == rank) items.push_back(static_cast<Index>(i));
  }
  return items;
}

}  // namespace kronlab::comm
