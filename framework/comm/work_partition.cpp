#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "framework/comm/communicator.hpp"
#include "framework/comm/work_partition.hpp"

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

/// Owners, and when the last rank is done: load over speed.
struct Packing {
  std::vector<int> owners;
  double largest = 0.0;
};

/// Each item onto the rank that is done with it first, the lowest number among equals.
Packing longest_first(std::span<const double> costs, const std::vector<Index>& order, std::span<const double> speeds) {
  Packing packing{std::vector<int>(costs.size()), 0.0};
  std::vector<double> loads(speeds.size());
  for (const Index item : order) {
    const double cost = costs[static_cast<std::size_t>(item)];
    std::size_t first = 0;
    for (std::size_t rank = 1; rank < loads.size(); ++rank) {
      if ((loads[rank] + cost) / speeds[rank] < (loads[first] + cost) / speeds[first]) first = rank;
    }
    packing.owners[static_cast<std::size_t>(item)] = static_cast<int>(first);
    loads[first] += cost;
    packing.largest = std::max(packing.largest, loads[first] / speeds[first]);
  }
  return packing;
}

/// Each item onto the first rank that is done with all of its own by `deadline`, the slowest first; nothing where there is none.
std::optional<Packing> first_fit(std::span<const double> costs, const std::vector<Index>& order, std::span<const double> speeds, double deadline) {
  Packing packing{std::vector<int>(costs.size()), 0.0};
  std::vector<std::size_t> ranks(speeds.size());
  std::iota(ranks.begin(), ranks.end(), std::size_t{0});
  std::ranges::stable_sort(ranks, {}, [&](std::size_t rank) { return speeds[rank]; });
  std::vector<double> loads(speeds.size());
  std::map<double, std::size_t> first_by_cost;  // where an equal item fitted last: loads only grow
  for (const Index item : order) {
    const double cost = costs[static_cast<std::size_t>(item)];
    std::size_t& place = first_by_cost[cost];
    while (place < ranks.size() && (loads[ranks[place]] + cost) / speeds[ranks[place]] > deadline) ++place;
    if (place == ranks.size()) return std::nullopt;
    const std::size_t rank = ranks[place];
    packing.owners[static_cast<std::size_t>(item)] = static_cast<int>(rank);
    loads[rank] += cost;
    packing.largest = std::max(packing.largest, loads[rank] / speeds[rank]);
  }
  return packing;
}

/// Gives items of the rank that is done last away, or exchanges them for smaller ones, as long as that makes it and its partner
/// be done earlier than it was.
class Exchange {
 public:
  Exchange(std::span<const double> costs, std::span<const double> speeds, const Packing& start) : costs_(costs), owners_(start.owners), ranks_(speeds.size()) {
    for (std::size_t rank = 0; rank < speeds.size(); ++rank) ranks_[rank].speed = speeds[rank];
    for (std::size_t item = 0; item < owners_.size(); ++item) insert(static_cast<Index>(item), owners_[item]);
  }

  Packing run(double least) {
    const std::size_t most_steps = 100 * costs_.size();
    for (std::size_t step = 0; step < most_steps && ranks_[last_done()].done() > least; ++step) {
      if (!improve(last_done())) break;
    }
    return {owners_, ranks_[last_done()].done()};
  }

 private:
  struct Rank {
    double load = 0.0, speed = 1.0;
    std::map<double, std::set<Index>> items;  ///< by cost
    double done(double more = 0.0) const { return (load + more) / speed; }
  };

  std::size_t last_done() const {
    return static_cast<std::size_t>(std::ranges::max_element(ranks_, {}, [](const Rank& rank) { return rank.done(); }) - ranks_.begin());
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

  bool improve(std::size_t last) {
    double best = ranks_[last].done() * (1 - 1e-9), given = 0, taken = 0;
    std::size_t partner = last;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (rank == last) continue;
      for (const auto& [cost, items] : ranks_[last].items) {
        const auto offer = [&](double back) {
          const double larger = std::max(ranks_[last].done(back - cost), ranks_[rank].done(cost - back));
          if (larger < best) best = larger, given = cost, taken = back, partner = rank;
        };
        offer(0);
        for (const auto& [back, others] : ranks_[rank].items) {
          if (back < cost) offer(back);
        }
      }
    }
    if (partner == last) return false;
    if (taken > 0) move(taken, partner, last);
    move(given, last, partner);
    return true;
  }

  std::span<const double> costs_;
  std::vector<int> owners_;
  std::vector<Rank> ranks_;
};

Packing best_packing(std::span<const double> costs, std::span<const double> speeds) {
  const auto order = by_falling_cost(costs);
  Packing best = longest_first(costs, order, speeds);
  if (order.empty()) return best;
  const double total = std::accumulate(costs.begin(), costs.end(), 0.0), speed = std::accumulate(speeds.begin(), speeds.end(), 0.0);
  const double bound = std::max(total / speed, costs[static_cast<std::size_t>(order.front())] / std::ranges::max(speeds));
  constexpr double tolerance = 1e-3;
  double least = bound, most = best.largest;
  while (most - least > tolerance * most) {
    const double deadline = (least + most) / 2;
    if (auto packing = first_fit(costs, order, speeds, deadline)) {
      most = packing->largest;
      if (most < best.largest) best = std::move(*packing);
    } else {
      least = deadline;
    }
  }
  return best.largest > bound * (1 + tolerance) ? Exchange(costs, speeds, best).run(bound) : best;
}

}  // namespace

Range block_range(Index count, int rank, int size) {
  KRONLAB_EXPECTS(count >= 0 && rank >= 0 && rank < size, "no share {} of {} of {} items", rank, size, count);
  return {count * rank / size, count * (rank + 1) / size};
}

WorkPartition::WorkPartition(std::span<const double> costs, int size) {
  KRONLAB_EXPECTS(size > 0, "number of ranks {} must be positive", size);
  const auto best = best_packing(costs, std::vector<double>(static_cast<std::size_t>(size), 1.0));
  owners_ = best.owners;
  const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
  if (total > 0) imbalance_ = best.largest * size / total;
}

std::vector<int> partition_by_speed(std::span<const double> costs, std::span<const double> speeds) {
  KRONLAB_EXPECTS(!speeds.empty(), "no ranks");
  KRONLAB_EXPECTS(std::ranges::min(speeds) > 0, "speeds of ranks from {}, expected above 0", std::ranges::min(speeds));
  return best_packing(costs, speeds).owners;
}

std::vector<Index> WorkPartition::items_of(int rank) const {
  std::vector<Index> items;
  for (std::size_t i = 0; i < owners_.size(); ++i) {
    if (owners_[i] == rank) items.push_back(static_cast<Index>(i));
  }
  return items;
}

}  // namespace kronlab::comm
