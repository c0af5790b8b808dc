#pragma once

#include "decompositions/factorization.hpp"
#include "framework/kernels/kronecker.hpp"

namespace kronlab::decompositions {

/// W^ = Σ_k A_k ⊗ B_k with A_k: [m1, n1], B_k: [m2, n2], W^: [m1 m2, n1 n2].
///
/// The left factors stand side by side in one matrix [A_1 ... A_r]: [m1, r n1], itself a Factorization, so that it may
/// be factorised again (TQCompressor's embedding). Applied right factors first (one product with the left matrix) or,
/// for a dense left matrix, left factors first, whichever needs fewer multiplications.
class KroneckerSum final : public Factorization {
 public:
  /// right: f32 [num_terms, m2, n2]
  KroneckerSum(std::unique_ptr<Factorization> left, Tensor right);

  Index num_parameters() const override { return left_->num_parameters() + right_.size(); }
  Index stored_bytes() const override { return left_->stored_bytes() + right_.size_bytes(); }
  FactorizationParts parts() const override;
  const kernels::KroneckerShape& shape() const { return shape_; }

  /// Multiply-adds per row of a batch.
  static double cost_right_first(const kernels::KroneckerShape& shape);
  static double cost_left_first(const kernels::KroneckerShape& shape);

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void apply_left_first(ConstTensorView x, TensorView y, linalg::Write write) const;
  bool is_left_first() const;

  std::unique_ptr<Factorization> left_;
  Tensor right_;
  kernels::KroneckerShape shape_;
  mutable Tensor packed_, product_;
};

}  // namespace kronlab::decompositions
