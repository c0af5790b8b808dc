#pragma once

#include "decompositions/permutation/permutation_objective.hpp"
#include "decompositions/sparse_pattern.hpp"

namespace kronlab::decompositions {

/// Energy that stays of a weight when all but the n largest entries of each m neighbours in a row are pruned, its
/// columns in another order: with columns times |X_j| what Wanda's score keeps, and what is lost the error of the
/// outputs where inputs do not correlate. Rows stay as they are.
///
/// Of a column x and a group without one of its columns A, the n largest of both hold T(A) + Σ_rows max(x^2 - t(A), 0),
/// t(A) the n-th largest square of A in a row: so the gain of a swap is two sums over the rows, with t and T kept for
/// every column's group without it.
///
/// Channel permutations for n:m: Pool and Yu, Channel permutations for N:M sparsity, 2021.
class PruningObjective final : public PermutationObjective {
 public:
  /// @pre n < m, which divides the columns
  PruningObjective(ConstMatrixView<double> weight, const SparsePattern& pattern);

  Index size(Axis axis) const override { return axis == Axis::rows ? weight_.rows() : weight_.cols(); }
  Index group(Axis axis) const override { return axis == Axis::rows ? 1 : pattern_.m; }
  double energy() const override { return energy_; }
  double value(const Grouping& grouping) const override;
  /// Of columns only. Memory 8 bytes an entry; of one column with all others 4 operations an entry.
  std::unique_ptr<AxisMoves> moves(Axis axis, const Grouping& grouping) const override;
  std::vector<double> energies(Axis axis) const override;
  Matrix<float> products_with_fit(Axis axis, const Grouping& grouping) const override;

  const SparsePattern& pattern() const { return pattern_; }
  const Matrix<double>& weight() const { return weight_; }

 private:
  Matrix<double> weight_;
  SparsePattern pattern_;
  double energy_ = 0.0;
};

}  // namespace kronlab::decompositions
