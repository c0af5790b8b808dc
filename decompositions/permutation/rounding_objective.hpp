#pragma once

#include "decompositions/permutation/permutation_objective.hpp"
#include "decompositions/quantisation_grid.hpp"

namespace kronlab::decompositions {

/// Energy that stays of a weight, its columns in another order, when each row of a group of neighbours is rounded to a
/// grid of its own (scale_by_range): what rounding is expected to cost, a twelfth of the square of the grid's step for
/// each weight, is taken from it. A group is worth more the less the ranges of its rows are wasted on single columns.
/// Rows stay as they are.
///
/// Of a column x and a group without one of its columns, the range in a row is max(high, x) - min(low, x), low and high
/// those of the others and of 0, kept for every column's group without it: so the gain of a swap is two sums over the
/// rows. A symmetric grid is that of |x|, with low 0 and a step twice as long.
///
/// That the error of rounding is evenly spread over a step: Bennett, Spectra of quantized signals, 1948.
class RoundingObjective final : public PermutationObjective {
 public:
  /// @pre grid.group > 0, which divides the columns
  RoundingObjective(ConstMatrixView<double> weight, const QuantisationGrid& grid);

  Index size(Axis axis) const override { return axis == Axis::rows ? weight_.rows() : weight_.cols(); }
  Index group(Axis axis) const override { return axis == Axis::rows ? 1 : grid_.group; }
  double energy() const override { return energy_; }
  /// Below 0 where rounding is expected to cost more than the weight has.
  double value(const Grouping& grouping) const override;
  /// Of columns only. Memory 12 bytes an entry; of one column with all others 8 operations an entry.
  std::unique_ptr<AxisMoves> moves(Axis axis, const Grouping& grouping) const override;
  std::vector<double> energies(Axis axis) const override;
  Matrix<float> products_with_fit(Axis axis, const Grouping& grouping) const override;
  bool prefers_alike() const override { return true; }

  const QuantisationGrid& grid() const { return grid_; }
  const Matrix<double>& weight() const { return weight_; }
  /// What rounding a group's row costs, over the square of its range.
  double cost_of_range() const;

 private:
  Matrix<double> weight_;
  QuantisationGrid grid_;
  double energy_ = 0.0;
};

}  // namespace kronlab::decompositions
