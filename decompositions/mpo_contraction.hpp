#pragma once

#include <span>
#include <vector>

#include "framework/linalg/linear_operator.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {

/// A core of a matrix-product operator, or several neighbouring ones merged: [left, rows, cols, right].
struct CoreShape {
  Index left = 1;   ///< bond dimension to the core before
  Index rows = 1;   ///< factor of the operator's rows
  Index cols = 1;   ///< factor of its columns
  Index right = 1;  ///< bond dimension to the core behind
  Index size() const { return left * rows * cols * right; }
  bool operator==(const CoreShape&) const = default;
};

/// In which sequence a batch is contracted with the cores.
struct ContractionPlan {
  enum class Direction { from_left, from_right };
  Direction direction = Direction::from_left;
  std::vector<std::size_t> first;  ///< cores first[g] to first[g + 1] are merged into one before; the last entry is their number
  double multiply_adds = 0.0;      ///< for a row of the batch; merging, which is done once for a batch, is not counted
  std::size_t num_groups() const { return first.size() - 1; }
};

/// What a plan is for: `apply` or `apply_adjoint`, or the gradients of all cores and of the input.
enum class Pass { apply, backward };

/// The plan with the fewest multiply-adds over both directions and all ways to merge neighbours.
ContractionPlan cheapest_plan(std::span<const CoreShape> cores, Pass pass);

/// The cores, merged and laid out as a plan contracts them, in one type. `a` and `b` are the bonds of a core to its left
/// and right; from the left the columns are contracted (c) and the rows produced (p), from the right the other way round.
class Contraction {
 public:
  /// cores: f32 or f64, each [left, rows, cols, right] of these shapes. dtype: f32, f64 or bf16
  Contraction(const ContractionPlan& plan, std::span<const CoreShape> shapes, std::span<const Tensor> cores, DType dtype);

  DType dtype() const { return dtype_; }
  const ContractionPlan& plan() const { return plan_; }
  /// Rows of a batch that keep what stands between the products small.
  Index strip_rows() const;

  /// y = x W^T.  x: [n, cols], y: [n, rows], of dtype or wider as LinearOperator::apply allows
  void apply(ConstTensorView x, TensorView y, linalg::Write write) const;
  /// x = y W.
  void apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const;
  /// sums[g] += the gradient of what group g was merged into and laid out; dx = dy W where wanted.
  void backward(ConstTensorView x, ConstTensorView dy, std::span<Tensor> sums, std::optional<TensorView> dx, linalg::Write write) const;

  /// Zeros of the shape of the groups, f32 or f64, for `backward`.
  std::vector<Tensor> zero_sums() const;
  /// gradients[k] += that of core k: what `backward` summed, taken apart. gradients: [left rows cols, right], contiguous
  void add_gradients(std::span<const Tensor> sums, std::span<const Tensor> cores, std::span<const TensorView> gradients) const;

 private:
  struct Step {
    Index contracted = 1, produced = 1, left = 1, right = 1;
    Index others = 1;  ///< what a row of the batch holds beside: contracted later or produced before
    Tensor matrix;     ///< [(c, a), (p, b)]
  };
  /// What each step of a chain multiplied.
  struct Kept {
    std::vector<ConstTensorView> factors;
    std::vector<Scratch> memory;
  };
  /// A chain through the steps.
  void run_forward(ConstTensorView in, std::optional<TensorView> out, linalg::Write write, Kept* kept) const;
  /// The adjoint chain. sums[g] += factors[g]^T times what step g multiplies.
  void run_reverse(ConstTensorView in, std::optional<TensorView> out, linalg::Write write, const Kept* kept, std::span<Tensor> sums) const;
  bool is_from_left() const { return plan_.direction == ContractionPlan::Direction::from_left; }

  ContractionPlan plan_;
  std::vector<CoreShape> shapes_;  ///< of the single cores
  DType dtype_;
  std::vector<Step> steps_;
};

}  // namespace kronlab::decompositions
