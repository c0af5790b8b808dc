#include "decompositions/permutation/permutation_objective.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

namespace kronlab::decompositions {

AxisMoves::AxisMoves(Index size, Index group)
    : group_(group), members_(static_cast<std::size_t>(size)), places_(static_cast<std::size_t>(size)) {}

std::vector<Index> AxisMoves::order() const {
  std::vector<Index> order(members_.size());
  for (Index place = 0; place < size(); ++place) {
    order[static_cast<std::size_t>(place % num_groups() * group_ + place / num_groups())] = element_at(place);
  }
  return order;
}

void AxisMoves::set_order(const std::vector<Index>& order) {
  KRONLAB_EXPECTS(order.size() == members_.size(), "an order of {} for {} elements", order.size(), members_.size());
  for (Index at = 0; at < size(); ++at) {
    const auto place = static_cast<std::size_t>(at % group_ * num_groups() + at / group_);
    members_[place] = static_cast<std::int32_t>(order[static_cast<std::size_t>(at)]);
    places_[static_cast<std::size_t>(members_[place])] = static_cast<std::int32_t>(place);
  }
}

void AxisMoves::swap(Index element, Index place) {
  const Index from = place_of(element), other = element_at(place);
  std::swap(members_[static_cast<std::size_t>(from)], members_[static_cast<std::size_t>(place)]);
  std::swap(places_[static_cast<std::size_t>(element)], places_[static_cast<std::size_t>(other)]);
  swapped(element, other);
}

void AxisMoves::reassign(Index position, std::span<const Index> elements) {
  for (Index g = 0; g < num_groups(); ++g) {
    const auto element = elements[static_cast<std::size_t>(g)];
    members_[static_cast<std::size_t>(position * num_groups() + g)] = static_cast<std::int32_t>(element);
    places_[static_cast<std::size_t>(element)] = static_cast<std::int32_t>(position * num_groups() + g);
  }
  reassigned(position);
}

Grouping identity_grouping(const PermutationObjective& objective) {
  Grouping grouping;
  for (const auto axis : {Axis::rows, Axis::columns}) {
    grouping.of(axis).resize(static_cast<std::size_t>(objective.size(axis)));
    std::iota(grouping.of(axis).begin(), grouping.of(axis).end(), Index{0});
  }
  return grouping;
}

bool is_grouping_of(const PermutationObjective& objective, const Grouping& grouping) {
  for (const auto axis : {Axis::rows, Axis::columns}) {
    auto sorted = grouping.of(axis);
    std::ranges::sort(sorted);
    if (sorted != identity_grouping(objective).of(axis)) return false;
  }
  return true;
}

Grouping norm_sorted_grouping(const PermutationObjective& objective) {
  Grouping grouping;
  for (const auto axis : {Axis::rows, Axis::columns}) {
    const auto energies = objective.energies(axis);
    const Index group = objective.group(axis), num_groups = objective.size(axis) / group;
    std::vector<Index> sorted(energies.size());
    std::iota(sorted.begin(), sorted.end(), Index{0});
    std::ranges::stable_sort(sorted, std::greater{}, [&](Index i) { return energies[static_cast<std::size_t>(i)]; });
    auto& order = grouping.of(axis);
    order.resize(energies.size());
    for (Index i = 0; i < objective.size(axis); ++i) {
      const Index place = objective.prefers_alike() ? i : i % num_groups * group + i / num_groups;
      order[static_cast<std::size_t>(place)] = sorted[static_cast<std::size_t>(i)];
    }
  }
  return grouping;
}

}  // namespace kronlab::decompositions
