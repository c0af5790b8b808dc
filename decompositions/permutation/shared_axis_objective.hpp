#pragma once

#include <memory>
#include <vector>

#include "decompositions/permutation/permutation_objective.hpp"

namespace kronlab::decompositions {

/// A weight that shares one of its axes with others: the hidden units of an MLP are rows of the weights before them and
/// columns of the weight behind.
struct SharedAxisPart {
  const PermutationObjective* objective = nullptr;
  Axis axis = Axis::rows;    ///< which of its axes is the shared one
  std::vector<Index> other;  ///< order of the other axis, which stays
};

/// One order for an axis that several weights share; what it is worth to all of them together. The shared axis is `rows`
/// here; there are no columns to move (one, alone in its group). Groups may differ in size where each divides the
/// largest: those of the smaller ones lie within those of the larger ones.
class SharedAxisObjective final : public PermutationObjective {
 public:
  /// The parts' objectives must outlive this and its moves.
  /// @throws ConfigError if the extents differ, or a group does not divide the largest; @pre there is a part
  explicit SharedAxisObjective(std::vector<SharedAxisPart> parts);

  Index size(Axis axis) const override { return axis == Axis::rows ? size_ : 1; }
  Index group(Axis axis) const override { return axis == Axis::rows ? group_ : 1; }
  double energy() const override { return energy_; }
  double value(const Grouping& grouping) const override;
  /// Of rows only.
  std::unique_ptr<AxisMoves> moves(Axis axis, const Grouping& grouping) const override;
  std::vector<double> energies(Axis axis) const override;
  Matrix<float> products_with_fit(Axis axis, const Grouping& grouping) const override;
  /// As the first part with larger groups than one.
  bool prefers_alike() const override;

  const std::vector<SharedAxisPart>& parts() const { return parts_; }
  /// A part's grouping with the shared axis in this order.
  Grouping grouping_of(std::size_t part, const std::vector<Index>& order) const;

 private:
  std::vector<SharedAxisPart> parts_;
  Index size_ = 0, group_ = 1;
  double energy_ = 0.0;
};

}  // namespace kronlab::decompositions
