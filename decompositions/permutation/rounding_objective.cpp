#include "decompositions/permutation/rounding_objective.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "decompositions/permutation/grouped_rows.hpp"

namespace kronlab::decompositions {
namespace {

class RoundingMoves final : public AxisMoves {
 public:
  RoundingMoves(const RoundingObjective& objective, const Grouping& grouping)
      : AxisMoves(objective.size(Axis::columns), objective.grid().group),
        rows_(objective.size(Axis::rows)),
        energy_(objective.energy()),
        cost_of_range_(objective.cost_of_range()),
        energies_(objective.energies(Axis::columns)),
        values_(size(), rows_),
        low_(size(), rows_),
        high_(size(), rows_),
        cost_of_(static_cast<std::size_t>(num_groups())),
        energy_of_(static_cast<std::size_t>(num_groups())),
        gains_(static_cast<std::size_t>(size())) {
    const auto& weight = objective.weight();
    for (Index r = 0; r < rows_; ++r) {
      for (Index j = 0; j < size(); ++j) {
        const auto value = static_cast<float>(weight(r, j));
        values_(j, r) = objective.grid().symmetric ? std::abs(value) : value;
      }
    }
    restart(grouping);
  }

  void restart(const Grouping& grouping) override {
    set_order(grouping.columns);
    refresh();
  }

  void refresh() override {
#pragma omp parallel for schedule(static)
    for (Index g = 0; g < num_groups(); ++g) fit(g);
    set_kept(energy_ - std::accumulate(cost_of_.begin(), cost_of_.end(), 0.0));
  }

  std::span<const float> gains(Index element) override {
    const Index own = place_of(element) % num_groups();
#pragma omp parallel for schedule(static) if (size() * rows_ > 1 << 16)
    for (Index place = 0; place < size(); ++place) {
      const Index g = place % num_groups(), other = element_at(place);
      gains_[index(place)] = g == own ? 0.0F
                                      : static_cast<float>(cost_of_[index(own)] - cost_with(other, element) +
                                                           cost_of_[index(g)] - cost_with(element, other));
    }
    return gains_;
  }

  void worths(Index position, MatrixView<float> worth) override {
    for (Index i = 0; i < num_groups(); ++i) {
      const Index element = element_at(position * num_groups() + i);
      for (Index g = 0; g < num_groups(); ++g) {
        const Index leaving = element_at(position * num_groups() + g);
        const double energy = energy_of_[index(g)] - energies_[index(leaving)] + energies_[index(element)];
        worth(i, g) = static_cast<float>(energy - cost_with(element, leaving));
      }
    }
  }

  void pair_worths(Index i, std::span<float> worth) override {
    for (Index j = 0; j < size(); ++j) {
      double ranges = 0;
      for (Index r = 0; r < rows_; ++r) {
        const float x = values_(i, r), y = values_(j, r);
        const double range = static_cast<double>(std::max({x, y, 0.0F}) - std::min({x, y, 0.0F}));
        ranges += range * range;
      }
      worth[index(j)] = static_cast<float>(energies_[index(i)] + energies_[index(j)] - cost_of_range_ * ranges);
    }
  }

  float noise() const override {
    return 32 * std::numeric_limits<float>::epsilon() * static_cast<float>(energy_ - kept()) /
           static_cast<float>(num_groups());
  }

 private:
  static std::size_t index(Index i) { return static_cast<std::size_t>(i); }

  /// What rounding the group of `leaving` costs with `element` in its place.
  double cost_with(Index element, Index leaving) const {
    const float *x = values_.row(element).data(), *low = low_.row(leaving).data(), *high = high_.row(leaving).data();
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index r = 0; r < rows_; ++r) {
      const float range = std::max(high[r], x[r]) - std::min(low[r], x[r]);
      sum += range * range;
    }
    return cost_of_range_ * static_cast<double>(sum);
  }

  /// The two outermost values on each side tell the range without any one of them.
  void fit(Index g) {
    std::vector<Index> columns;
    for (Index position = 0; position < group(); ++position) columns.push_back(element_at(position * num_groups() + g));
    double ranges = 0, energy = 0;
    for (const Index j : columns) energy += energies_[index(j)];
    for (Index r = 0; r < rows_; ++r) {
      float least = 0, next_least = 0, most = 0, next_most = 0;
      for (const Index j : columns) {
        const float value = values_(j, r);
        next_least = std::min(next_least, std::max(least, value)), least = std::min(least, value);
        next_most = std::max(next_most, std::min(most, value)), most = std::max(most, value);
      }
      for (const Index j : columns) {
        low_(j, r) = values_(j, r) > least ? least : next_least;
        high_(j, r) = values_(j, r) < most ? most : next_most;
      }
      ranges += static_cast<double>(most - least) * static_cast<double>(most - least);
    }
    cost_of_[index(g)] = cost_of_range_ * ranges, energy_of_[index(g)] = energy;
  }

  void swapped(Index element, Index other) override {
    fit(place_of(element) % num_groups());
    fit(place_of(other) % num_groups());
  }
  void reassigned(Index) override { refresh(); }

  Index rows_;
  double energy_, cost_of_range_;
  std::vector<double> energies_;   ///< by column
  Matrix<float> values_;           ///< [columns, rows]
  Matrix<float> low_, high_;       ///< of each column's group without it, and of 0: [columns, rows]
  std::vector<double> cost_of_;    ///< by group
  std::vector<double> energy_of_;  ///< by group
  std::vector<float> gains_;
};

}  // namespace

RoundingObjective::RoundingObjective(ConstMatrixView<double> weight, const QuantisationGrid& grid)
    : weight_(to_matrix<double>(weight)), grid_(grid) {
  KRONLAB_EXPECTS(grid.group > 0 && weight.cols % grid.group == 0, "groups of {} of {} columns", grid.group,
                  weight.cols);
  for (Index i = 0; i < weight_.size(); ++i) energy_ += weight_.data()[i] * weight_.data()[i];
}

double RoundingObjective::cost_of_range() const {
  const auto steps = static_cast<double>(grid_.num_levels() - 1);
  const double step = (grid_.symmetric ? 2 : 1) / steps;
  return static_cast<double>(grid_.group) * step * step / 12;
}

double RoundingObjective::value(const Grouping& grouping) const {
  if (!(energy_ > 0)) return 1.0;
  double ranges = 0;
  for (Index i = 0; i < weight_.rows(); ++i) {
    for (Index first = 0; first < weight_.cols(); first += grid_.group) {
      double low = 0, high = 0;
      for (Index k = 0; k < grid_.group; ++k) {
        const double w = weight_(i, grouping.columns[static_cast<std::size_t>(first + k)]);
        const double value = grid_.symmetric ? std::abs(w) : w;
        low = std::min(low, value), high = std::max(high, value);
      }
      ranges += (high - low) * (high - low);
    }
  }
  return 1 - cost_of_range() * ranges / energy_;
}

std::unique_ptr<AxisMoves> RoundingObjective::moves(Axis axis, const Grouping& grouping) const {
  KRONLAB_EXPECTS(axis == Axis::columns, "moves of {} rows, whose order is worth nothing", weight_.rows());
  return std::make_unique<RoundingMoves>(*this, grouping);
}

std::vector<double> RoundingObjective::energies(Axis axis) const { return square_norms(weight_, axis); }

Matrix<float> RoundingObjective::products_with_fit(Axis axis, const Grouping& grouping) const {
  return products_with_rows(weight_, axis, grouping, [&](std::span<double> row) {
    for (std::size_t first = 0; first < row.size(); first += static_cast<std::size_t>(grid_.group)) {
      const auto values = row.subspan(first, static_cast<std::size_t>(grid_.group));
      const auto by = scale_by_range(values, grid_);
      for (double& value : values) value = value_of(nearest_code(value, by, grid_), by);
    }
  });
}

}  // namespace kronlab::decompositions
