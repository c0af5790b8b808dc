#pragma once

#include <vector>

#include "decompositions/permutation/permutation_search.hpp"

namespace kronlab::decompositions {

/// Energy f that Kronecker terms keep of a weight under a grouping: the sum of the num_terms largest eigenvalues of the
/// Gram matrix G of the rearranged weight, k x k with k = m2 n2. Computed from scratch in double.
class KroneckerObjective {
 public:
  KroneckerObjective(ConstMatrixView<double> weight, const GroupingProblem& problem);

  /// |W|_F^2
  double energy() const { return energy_; }
  /// f / |W|_F^2; 1 for a zero weight.
  double value(const std::vector<Index>& rows, const std::vector<Index>& columns) const;
  /// The Gram matrix G: [k, k], index (u, s) = u n2 + s.
  Matrix<double> gram(const std::vector<Index>& rows, const std::vector<Index>& columns) const;
  /// Projector P on the leading eigenvectors of G: [k, k]. For any symmetric D, f(G + D) >= f(G) + <P, D>.
  Matrix<double> projector(const Matrix<double>& gram) const;

  ConstMatrixView<double> weight() const { return weight_; }
  const GroupingProblem& problem() const { return problem_; }

 private:
  ConstMatrixView<double> weight_;
  GroupingProblem problem_;
  double energy_ = 0.0;
};

/// Swaps along one axis (rows, say) with the other axis and the projector P fixed. For elements x_u of a group,
///
///   <P, G> = Σ_groups Σ_uv H_uv(x_u, x_v),   H_uv = Σ_st P[(u,s),(v,t)] K_st,   K_st = W_s W_t^T,
///
/// W_s the columns at in-group position s: [m, n1]. The gains of one element with all partners are a few contiguous
/// vector additions and short gathers, no eigenproblem. A gain of <P, G> is a lower bound of the gain of f.
class SwapEngine {
 public:
  /// elements: [m, n1 n2], one row for each element to be grouped, its columns in the other axis' present order.
  /// group: elements in a group; other_group: columns in a group of the other axis.
  SwapEngine(ConstMatrixView<double> elements, Index group, Index other_group);

  /// P: [(group, other_group), (group, other_group)]; order[g * group + u] is the element at position u of group g.
  void refresh(const Matrix<double>& projector, std::vector<Index> order);
  /// Gains of <P, G> when element i changes places with each element j; 0 for j = i. @pre refreshed
  const std::vector<float>& gains(Index i);
  void swap(Index i, Index j);

  const std::vector<Index>& order() const { return order_; }
  Index size() const { return size_; }
  /// Gains below this are rounding noise: 32 eps times the largest entry of H.
  float noise() const { return noise_; }

 private:
  const float* h(Index u, Index v) const { return h_[static_cast<std::size_t>(u * group_ + v)].data(); }
  float share(Index i, Index position, Index owner_group) const;
  void update_own(Index group);

  Index size_, group_, other_group_;
  std::vector<Matrix<float>> k_, h_;
  std::vector<Index> order_, slot_;  // slot_[element] = place in order_
  std::vector<float> own_, joined_, gains_;
  float noise_ = 0.0F;
};

}  // namespace kronlab::decompositions
