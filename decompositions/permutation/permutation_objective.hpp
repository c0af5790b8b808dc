#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::decompositions {

enum class Axis { rows, columns };
constexpr Axis other_axis(Axis axis) { return axis == Axis::rows ? Axis::columns : Axis::rows; }

/// Orders of rows and columns: entry g * group + u is the element at position u of group g. The sequence of the groups
/// does not matter.
struct Grouping {
  std::vector<Index> rows, columns;

  std::vector<Index>& of(Axis axis) { return axis == Axis::rows ? rows : columns; }
  const std::vector<Index>& of(Axis axis) const { return axis == Axis::rows ? rows : columns; }
  bool operator==(const Grouping&) const = default;
};

/// What moves along one axis are worth, the other axis as it is: a lower bound of the change of the objective that is
/// exact for the objective linearised at the last refresh(), so that a move with a gain above noise() improves.
///
/// A **place** is position * num_groups() + group: all groups' first elements, then their second ones, ...
class AxisMoves {
 public:
  virtual ~AxisMoves() = default;

  Index size() const { return static_cast<Index>(members_.size()); }
  Index group() const { return group_; }
  Index num_groups() const { return size() / group_; }
  Index element_at(Index place) const { return members_[static_cast<std::size_t>(place)]; }
  Index place_of(Index element) const { return places_[static_cast<std::size_t>(element)]; }
  /// As Grouping has it.
  std::vector<Index> order() const;

  /// Starts again from a grouping, whose other axis may have changed too, refreshed.
  virtual void restart(const Grouping& grouping) = 0;
  /// Linearises at the present order.
  virtual void refresh() = 0;
  /// The objective in units of energy at the last refresh(), to single precision.
  double kept() const { return kept_; }
  /// By place: the gain when `element` and the one at that place change places; 0 at its own. Valid until the next call.
  virtual std::span<const float> gains(Index element) = 0;
  /// worth(i, g): what the element at position `position` of group i adds in that position of group g, all other
  /// positions as they are.  worth: [num_groups, num_groups]
  virtual void worths(Index position, MatrixView<float> worth) = 0;
  /// What elements i at position 0 and j at position 1 of one group add.  worth: [size], for all j; groups of two only
  virtual void pair_worths(Index i, std::span<float> worth) = 0;
  void swap(Index element, Index place);
  /// The elements of one position, by group, in another sequence.
  void reassign(Index position, std::span<const Index> elements);
  /// Gains up to this are rounding.
  virtual float noise() const = 0;

 protected:
  AxisMoves(Index size, Index group);
  void set_order(const std::vector<Index>& order);
  void set_kept(double kept) { kept_ = kept; }
  const std::int32_t* members(Index position) const { return members_.data() + position * num_groups(); }

 private:
  /// Two elements have changed places.
  virtual void swapped(Index element, Index other) = 0;
  /// The elements at one position have.
  virtual void reassigned(Index position) = 0;

  Index group_;
  std::vector<std::int32_t> members_;  ///< by place
  std::vector<std::int32_t> places_;   ///< by element
  double kept_ = 0.0;
};

/// A problem that comes down to pairing the elements x of one axis along one direction (cos t, sin t):
/// the energy kept is Σ_pairs |cos t x_0 + sin t x_1|^2.
struct PairProblem {
  Axis axis = Axis::rows;
  Matrix<double> gram;  ///< inner products of the elements: [m, m]
};

/// What a grouping of rows and columns is worth to a structure: what every search maximises.
class PermutationObjective {
 public:
  virtual ~PermutationObjective() = default;
  virtual Index size(Axis axis) const = 0;
  virtual Index group(Axis axis) const = 0;
  /// Share of the energy |W|_F^2 that is kept, in double from scratch: 0 to 1, 1 for a zero weight.
  virtual double value(const Grouping& grouping) const = 0;
  /// |W|_F^2: AxisMoves count in it.
  virtual double energy() const = 0;
  /// Moves along an axis from a grouping, refreshed.
  virtual std::unique_ptr<AxisMoves> moves(Axis axis, const Grouping& grouping) const = 0;
  /// Energy |x|^2 of the elements of an axis: they add up to energy().
  virtual std::vector<double> energies(Axis axis) const = 0;
  /// Inner products of the elements of an axis with those of the nearest structured weight under this grouping:
  /// (i, p) of element i with what stands at entry p of the axis' order.  [size(axis), size(axis)]
  virtual Matrix<float> products_with_fit(Axis axis, const Grouping& grouping) const = 0;
  /// Whether groups of alike elements are worth more than mixed ones: which of them a sort by norm makes.
  virtual bool prefers_alike() const { return false; }
  /// What it is if it is nothing else than pairing, so that a certified search applies.
  virtual std::optional<PairProblem> pair_problem() const { return std::nullopt; }
};

Grouping identity_grouping(const PermutationObjective& objective);
/// Whether these are orders of the objective's rows and columns.
bool is_grouping_of(const PermutationObjective& objective, const Grouping& grouping);
/// The largest elements, by norm, at position 0 of the groups, the smallest at the last; or, where alike ones are
/// preferred, the largest in the first group, the smallest in the last.
Grouping norm_sorted_grouping(const PermutationObjective& objective);

}  // namespace kronlab::decompositions
