#pragma once

#include <memory>

#include "decompositions/decomposer.hpp"
#include "decompositions/permutation/permutation_objective.hpp"

namespace kronlab::decompositions {

/// Energy f that Kronecker terms keep of a weight under a grouping: the sum of the num_terms largest eigenvalues of the
/// Gram matrix G of the rearranged weight, k x k with k = m2 n2.
///
/// For the projector P on the leading eigenvectors and any symmetric D, f(G + D) >= f(G) + <P, D>. Along one axis
/// (rows, say), for elements x_u of a group,
///
///   <P, G> = Σ_groups Σ_uv H_uv(x_u, x_v),   H_uv = Σ_st P[(u,s),(v,t)] K_st,   K_st = W_s W_t^T,
///
/// W_s the columns at in-group position s: [m, n1]. So the gains of one element with all partners are vector additions
/// over rows of H and short gathers, and no eigenproblem; only refresh() solves one.
class KroneckerObjective final : public PermutationObjective {
 public:
  /// The weight must outlive this and its moves.
  KroneckerObjective(ConstMatrixView<double> weight, const GroupingProblem& problem);

  Index size(Axis axis) const override { return axis == Axis::rows ? weight_.rows : weight_.cols; }
  Index group(Axis axis) const override { return axis == Axis::rows ? problem_.right_rows : problem_.right_cols; }
  double energy() const override { return energy_; }
  double value(const Grouping& grouping) const override;
  /// Memory for m elements in groups of a, n in groups of b: 4 m^2 b^2 bytes, or 4 (m^2 a^2 + 2 m n) for a (a - 1) <= b.
  std::unique_ptr<AxisMoves> moves(Axis axis, const Grouping& grouping) const override;
  std::vector<double> energies(Axis axis) const override;
  Matrix<float> products_with_fit(Axis axis, const Grouping& grouping) const override;
  /// For B of two elements and one term.
  std::optional<PairProblem> pair_problem() const override;

  /// The Gram matrix G: [k, k], index (u, s) = u n2 + s.
  Matrix<double> gram(const Grouping& grouping) const;
  /// Projector P on the leading num_terms eigenvectors of G: [k, k].
  Matrix<double> projector(const Matrix<double>& gram) const;

  ConstMatrixView<double> weight() const { return weight_; }
  const GroupingProblem& problem() const { return problem_; }

 private:
  ConstMatrixView<double> weight_;
  GroupingProblem problem_;
  double energy_ = 0.0;
};

}  // namespace kronlab::decompositions
