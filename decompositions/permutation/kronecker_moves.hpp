#pragma once

#include <memory>
#include <vector>

#include "decompositions/permutation/kronecker_objective.hpp"

namespace kronlab::decompositions {

/// AxisMoves of a KroneckerObjective, whose comment has the formulas, in float32. a: elements in a group, b: in a group of
/// the other axis, m: elements, n: of the other axis. Bit-equal for any number of threads.
///
/// Where a (a - 1) <= b, H is made by one product for each pair of positions at each refresh(); elsewhere the products K
/// are made when the other axis changes, and rows of H from them as they are asked for.
std::unique_ptr<AxisMoves> make_kronecker_moves(const KroneckerObjective& objective, Axis axis, const Grouping& grouping);

/// The common part: gains from rows of H.
class KroneckerMoves : public AxisMoves {
 public:
  std::span<const float> gains(Index element) final;
  void worths(Index position, MatrixView<float> worth) final;
  void pair_worths(Index i, std::span<float> worth) final;
  float noise() const final { return noise_; }

 protected:
  KroneckerMoves(const KroneckerObjective& objective, Axis axis);

  Index other_group() const { return other_; }
  /// The weight in float32, in the other axis' order: [m, n] by rows, its transpose [n, m] by columns.
  Tensor elements_in(const std::vector<Index>& other_order) const;
  bool is_by_rows() const { return axis_ == Axis::rows; }
  const KroneckerObjective& objective() const { return objective_; }
  const std::vector<Index>& other_order(const Grouping& grouping) const {
    return grouping.of(other_axis(axis_));
  }
  /// P for G, both with index (u, s) = u b + s, into p(u, v) and kept().
  void set_projector(const Matrix<double>& gram);
  /// P[(u, s), (v, t)] as (s, t).
  const std::vector<float>& p(Index u, Index v) const { return p_[static_cast<std::size_t>(u * group() + v)]; }
  /// From moments(i): K_st(i, i) as (s, t). Own shares and noise follow from p and H.
  template <class Moments>
  void set_shares(const Moments& moments);

 private:
  /// H_uv(i, j), and its row i, u != v; the row is valid until the next call.
  virtual float entry(Index u, Index v, Index i, Index j) const = 0;
  virtual const float* row(Index u, Index v, Index i) = 0;
  void swapped(Index element, Index other) final;
  void reassigned(Index position) final;
  void update_own(Index group);
  /// 2 Σ_(w != position) H_(position, w)(i, x_w) for the members x_w of every group.
  void crossings(Index i, Index position, float* crossing);
  /// What element i adds at a position of a group whose other positions stay as they are.
  float share(Index i, Index position, Index owner_group) const;

  const KroneckerObjective& objective_;
  Axis axis_;
  Index other_;
  std::vector<std::vector<float>> p_;
  Matrix<float> diagonal_;  ///< H_uu(i, i): [a, m]
  std::vector<float> own_;  ///< by element: its share where it is
  std::vector<float> joined_, gains_, crossing_;
  float noise_ = 0.0F;
};

}  // namespace kronlab::decompositions
