#include "decompositions/permutation/shared_axis_objective.hpp"

#include <algorithm>
#include <utility>

#include "framework/base/error.hpp"

namespace kronlab::decompositions {
namespace {

/// The moves of all parts, kept in step.
class SharedMoves final : public AxisMoves {
 public:
  SharedMoves(const SharedAxisObjective& objective, const Grouping& grouping)
      : AxisMoves(objective.size(Axis::rows), objective.group(Axis::rows)), objective_(objective), gains_(static_cast<std::size_t>(size())) {
    for (std::size_t p = 0; p < objective.parts().size(); ++p) {
      const auto& part = objective.parts()[p];
      const auto own = objective.grouping_of(p, grouping.rows);
      if (part.objective->group(part.axis) == 1) {  // to which an order is worth nothing
        constant_ += part.objective->energy() * part.objective->value(own);
      } else {
        parts_.push_back(part.objective->moves(part.axis, own));
        places_.push_back(p);
      }
    }
    set_order(grouping.rows);
    sum_kept();
  }

  void restart(const Grouping& grouping) override {
    for (std::size_t p = 0; p < parts_.size(); ++p) parts_[p]->restart(objective_.grouping_of(places_[p], grouping.rows));
    set_order(grouping.rows);
    sum_kept();
  }

  void refresh() override {
    for (const auto& part : parts_) part->refresh();
    sum_kept();
  }

  std::span<const float> gains(Index element) override {
    std::ranges::fill(gains_, 0.0F);
    for (const auto& part : parts_) {
      const auto own = part->gains(element);
      const Index ratio = group() / part->group();
      for (Index position = 0; position < group(); ++position) {
        float* to = gains_.data() + position * num_groups();
        const float* from = own.data() + position % part->group() * part->num_groups() + position / part->group();
        for (Index g = 0; g < num_groups(); ++g) to[g] += from[g * ratio];
      }
    }
    return gains_;
  }

  void worths(Index position, MatrixView<float> worth) override {
    for (Index i = 0; i < num_groups(); ++i) std::ranges::fill(worth.row(i), 0.0F);
    for (const auto& part : parts_) {
      const Index ratio = group() / part->group(), first = position / part->group();
      Matrix<float> own(part->num_groups(), part->num_groups());
      part->worths(position % part->group(), own.view());
      for (Index i = 0; i < num_groups(); ++i) {
        for (Index g = 0; g < num_groups(); ++g) worth(i, g) += own(i * ratio + first, g * ratio + first);
      }
    }
  }

  void pair_worths(Index i, std::span<float> worth) override {
    std::ranges::fill(worth, 0.0F);
    std::vector<float> own(worth.size());
    for (const auto& part : parts_) {
      part->pair_worths(i, own);
      for (std::size_t j = 0; j < own.size(); ++j) worth[j] += own[j];
    }
  }

  float noise() const override {
    float sum = 0;
    for (const auto& part : parts_) sum += part->noise();
    return sum;
  }

 private:
  void swapped(Index element, Index other) override {
    for (const auto& part : parts_) part->swap(element, part->place_of(other));
  }

  void reassigned(Index position) override {
    for (const auto& part : parts_) {
      const Index ratio = group() / part->group(), first = position / part->group(), own_position = position % part->group();
      std::vector<Index> elements;
      for (Index g = 0; g < part->num_groups(); ++g) elements.push_back(part->element_at(own_position * part->num_groups() + g));
      for (Index g = 0; g < num_groups(); ++g) elements[static_cast<std::size_t>(g * ratio + first)] = element_at(position * num_groups() + g);
      part->reassign(own_position, elements);
    }
  }

  void sum_kept() {
    double sum = constant_;
    for (const auto& part : parts_) sum += part->kept();
    set_kept(sum);
  }

  const SharedAxisObjective& objective_;
  std::vector<std::unique_ptr<AxisMoves>> parts_;  ///< of parts with larger groups than one
  std::vector<std::size_t> places_;                ///< which parts they are
  double constant_ = 0.0;                          ///< what the others keep
  std::vector<float> gains_;
};

}  // namespace

SharedAxisObjective::SharedAxisObjective(std::vector<SharedAxisPart> parts) : parts_(std::move(parts)) {
  KRONLAB_EXPECTS(!parts_.empty(), "an axis that no weight has");
  size_ = parts_.front().objective->size(parts_.front().axis);
  for (const auto& [objective, axis, other] : parts_) {
    if (objective->size(axis) != size_) throw ConfigError(fmt::format("weights of {} and {} elements share no axis", size_, objective->size(axis)));
    group_ = std::max(group_, objective->group(axis));
    energy_ += objective->energy();
  }
  for (const auto& [objective, axis, other] : parts_) {
    if (group_ % objective->group(axis) != 0) {
      throw ConfigError(fmt::format("groups of {} and {} on a shared axis: expected sizes of which each divides the largest",
                                    objective->group(axis), group_));
    }
  }
}

Grouping SharedAxisObjective::grouping_of(std::size_t part, const std::vector<Index>& order) const {
  Grouping grouping;
  const auto& [objective, axis, other] = parts_[part];
  grouping.of(axis) = order;
  grouping.of(other_axis(axis)) = other;
  return grouping;
}

double SharedAxisObjective::value(const Grouping& grouping) const {
  if (!(energy_ > 0)) return 1.0;
  double kept = 0;
  for (std::size_t p = 0; p < parts_.size(); ++p) kept += parts_[p].objective->energy() * parts_[p].objective->value(grouping_of(p, grouping.rows));
  return kept / energy_;
}

std::unique_ptr<AxisMoves> SharedAxisObjective::moves(Axis axis, const Grouping& grouping) const {
  KRONLAB_EXPECTS(axis == Axis::rows, "moves of the axis that stays, size {}", size(axis));
  return std::make_unique<SharedMoves>(*this, grouping);
}

std::vector<double> SharedAxisObjective::energies(Axis axis) const {
  if (axis == Axis::columns) return {energy_};
  std::vector<double> sums(static_cast<std::size_t>(size_));
  for (const auto& part : parts_) {
    const auto own = part.objective->energies(part.axis);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += own[i];
  }
  return sums;
}

bool SharedAxisObjective::prefers_alike() const {
  const auto found =
      std::ranges::find_if(parts_, [](const auto& part) { return part.objective->group(part.axis) > 1; });
  return found != parts_.end() && found->objective->prefers_alike();
}

Matrix<float> SharedAxisObjective::products_with_fit(Axis axis, const Grouping& grouping) const {
  KRONLAB_EXPECTS(axis == Axis::rows, "products of the axis that stays, size {}", size(axis));
  Matrix<float> sum(size_, size_);
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const auto own = parts_[p].objective->products_with_fit(parts_[p].axis, grouping_of(p, grouping.rows));
    for (Index i = 0; i < sum.size(); ++i) sum.data()[i] += own.data()[i];
  }
  return sum;
}

}  // namespace kronlab::decompositions
