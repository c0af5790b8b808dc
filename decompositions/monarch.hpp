#pragma once

#include "decompositions/factorization.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {

/// Extents of a Monarch matrix [m1 m2, n1 n2].
struct MonarchShape {
  Index left_rows = 1;      ///< m1
  Index left_blocks = 1;    ///< m2
  Index right_blocks = 1;   ///< n1
  Index right_cols = 1;     ///< n2
  Index num_terms = 1;      ///< r
  Index left_size() const { return left_blocks * left_rows * right_blocks * num_terms; }
  Index right_size() const { return right_blocks * left_blocks * num_terms * right_cols; }
};

/// A product of two block-diagonal matrices with a fixed permutation between them and one behind:
///
///   W^[(a, b), (c, d)] = Σ_k L_b[a, (c, k)] R_c[(b, k), d]      a < m1, b < m2, c < n1, d < n2, k < r
///
/// Every slice W^[., b, c, .] has rank r. A row of a batch takes one multiply-add for each parameter.
///
/// Dao et al., Monarch: Expressive structured matrices, 2204.00595, where r = 1.
class Monarch final : public Factorization {
 public:
  /// left: [m2, m1, n1 r], right: [n1, m2 r, n2], f32 or f64. @throws DataError if they do not fit each other
  Monarch(Tensor left, Tensor right);

  Index num_parameters() const override { return left_.size() + right_.size(); }
  Index stored_bytes() const override { return num_parameters() * size_of(DType::f32); }
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override { return std::make_unique<Monarch>(left_.clone(), right_.clone()); }
  std::vector<linalg::Parameter> parameters() override { return {{"left", &left_}, {"right", &right_}}; }
  void parameters_changed() override { converted_left_ = Tensor(), converted_right_ = Tensor(); }
  const MonarchShape& shape() const { return shape_; }

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  /// Factors as [m2 m1, n1 r] and [n1 m2 r, n2], and their gradients.
  template <class View>
  struct Factors {
    View left, right;
  };
  Factors<ConstTensorView> factors_as(DType dtype) const;
  Factors<TensorView> checked(std::span<const TensorView> gradients) const;
  template <class View>
  View left_block(View left, Index b) const {
    return left.block(b * shape_.left_rows, 0, shape_.left_rows, left.cols);
  }
  template <class View>
  View right_block(View right, Index c) const {
    return right.block(c * shape_.left_blocks * shape_.num_terms, 0, shape_.left_blocks * shape_.num_terms, right.cols);
  }
  /// R x with its rows in the sequence that L takes, (b, c, k).
  Scratch inner(const Factors<ConstTensorView>& factors, ConstTensorView x) const;
  /// y with its columns by blocks, (b, a).
  Scratch by_blocks(ConstTensorView y) const;
  /// L^T y in the sequence that R has, (c, b, k). y: by blocks
  Scratch inner_adjoint(const Factors<ConstTensorView>& factors, ConstTensorView y) const;
  void finish_adjoint(const Factors<ConstTensorView>& factors, ConstTensorView inner, TensorView x, linalg::Write write) const;

  Tensor left_, right_;
  MonarchShape shape_;
  mutable Tensor converted_left_, converted_right_;  ///< in the last other type they were asked for
};

}  // namespace kronlab::decompositions
