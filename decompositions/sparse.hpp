#pragma once

#include <memory>

#include "decompositions/sparse_pattern.hpp"

namespace kronlab::decompositions {

/// A weight with few entries: those that stay learn, the others are zero for good.
///
/// A few rows of activations in f32 or bf16 are multiplied from the entries themselves, as are many in f32; else the weight
/// is written out a panel at a time and multiplied as a dense one. In memory: 4 bytes a value and one bit an entry.
class Sparse final : public Factorization {
 public:
  /// The entries that `kept` names, zero or not; the others are not looked at.
  /// weight: f32 or f64.  @throws DataError on another shape, NaN or infinity
  Sparse(ConstTensorView weight, std::shared_ptr<const KeptEntries> kept);
  /// The entries that are not zero, see nonzero_entries. @throws as it does and as above
  Sparse(ConstTensorView weight, SparsePattern pattern)
      : Sparse(weight, std::make_shared<const KeptEntries>(weight.rows, weight.cols, pattern, nonzero_entries(weight, pattern))) {}
  /// values: [kept.size()] f32 or f64, row by row.  @throws DataError as above
  Sparse(Tensor values, std::shared_ptr<const KeptEntries> kept);
  static std::unique_ptr<Sparse> from_parts(FactorizationParts& parts);

  /// What is stored for `num_kept` entries; see KeptEntries::stored_bytes_of for the pattern. @throws ConfigError as it does
  static Index stored_bytes_of(Index rows, Index cols, SparsePattern pattern, Index num_kept);

  Index num_parameters() const override { return kept_->size(); }
  Index stored_bytes() const override { return kept_->stored_bytes() + kept_->size() * size_of(DType::f32); }
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override { return {{"values", &values_}}; }
  void parameters_changed() override { converted_ = Tensor(); }
  bool has_slices() const override { return true; }
  const KeptEntries& kept() const { return *kept_; }

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  /// Rows [first_row, first_row + rows) as a product takes them.
  void apply_rows(ConstTensorView x, Index first_row, TensorView y, linalg::Write write) const;
  void write_rows(Index first_row, TensorView rows) const { kernels::expand_rows(kept_->view(), values_.view(), first_row, rows); }
  ConstTensorView single_values() const;
  TensorView gradient_of(std::span<const TensorView> gradients) const;

  std::shared_ptr<const KeptEntries> kept_;
  Tensor values_;
  mutable Tensor converted_;  ///< values of f64 in f32
};

}  // namespace kronlab::decompositions
