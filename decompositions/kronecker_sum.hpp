#pragma once

#include "decompositions/factorization.hpp"
#include "framework/kernels/kronecker.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {

/// Right factors, or their gradient, [num_terms, m2, n2] as kernels take them: [num_terms, m2 n2].
/// @pre contiguous
template <class View>
View as_terms(const kernels::KroneckerShape& shape, View right) {
  KRONLAB_EXPECTS(
      right.rows == shape.num_terms * shape.right_rows && right.cols == shape.right_cols && right.stride == right.cols,
      "right factors of {} terms, {} x {}, are [{}, {}] with rows {} apart", shape.num_terms, shape.right_rows,
      shape.right_cols, right.rows, right.cols, right.stride);
  right.rows = shape.num_terms, right.cols = right.stride = shape.right_rows * shape.right_cols;
  return right;
}

/// W^ = Σ_k A_k ⊗ B_k with A_k: [m1, n1], B_k: [m2, n2], W^: [m1 m2, n1 n2].
///
/// The left factors stand side by side in one matrix [A_1 ... A_r]: [m1, r n1], itself a Factorization, so that it may
/// be factorised again (TQCompressor's embedding). Applied right factors first (one product with the left matrix) or,
/// for a dense left matrix, left factors first, whichever needs fewer multiplications; likewise backward.
class KroneckerSum final : public Factorization {
 public:
  /// right: f32 or f64 [num_terms, m2, n2]
  KroneckerSum(std::unique_ptr<Factorization> left, Tensor right);

  Index num_parameters() const override { return left_->num_parameters() + right_.size(); }
  Index stored_bytes() const override { return left_->stored_bytes() + right_.size() * size_of(DType::f32); }
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override;
  void parameters_changed() override { left_->parameters_changed(); }
  const kernels::KroneckerShape& shape() const { return shape_; }

  /// Multiply-adds per row of a batch, of `apply` or `apply_adjoint`.
  static double cost_right_first(const kernels::KroneckerShape& shape);
  static double cost_left_first(const kernels::KroneckerShape& shape);

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  /// The right factors as kernels take them: [num_terms, m2 n2].
  ConstTensorView right_terms() const { return as_terms(shape_, right_.view()); }
  bool has_dense_left() const { return dynamic_cast<const Dense*>(left_.get()) != nullptr; }
  bool is_left_first() const;
  /// y as rows (t, u), which the left matrix takes: y itself where m2 = 1.
  ConstTensorView split_rows(ConstTensorView y, Scratch& scratch) const;
  void gather_strip(std::span<const std::int32_t> ids, TensorView out) const;
  void backward_right_first(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                            std::optional<TensorView> dx, linalg::Write write) const;

  // For a dense left matrix.
  Tensor stacked_left(DType dtype) const;
  Tensor transposed_right() const;
  ConstTensorView split_columns(ConstTensorView x, Scratch& scratch) const;
  void join_columns(ConstTensorView product, const Tensor& left, TensorView x, linalg::Write write) const;
  void apply_left_first(ConstTensorView x, TensorView y, linalg::Write write) const;
  void apply_adjoint_left_first(ConstTensorView y, TensorView x, linalg::Write write) const;
  void backward_left_first(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                           std::optional<TensorView> dx, linalg::Write write) const;
  void backward_whole(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                      std::optional<TensorView> dx, linalg::Write write) const;

  std::unique_ptr<Factorization> left_;
  Tensor right_;
  kernels::KroneckerShape shape_;
};

}  // namespace kronlab::decompositions
