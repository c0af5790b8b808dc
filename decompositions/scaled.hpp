#pragma once

#include "decompositions/factorization.hpp"

namespace kronlab::decompositions {

/// W^ = diag(r) inner diag(c): the inner factorization approximates the weight with rows and columns scaled, so that an
/// equal error everywhere in it is a small error where the weight matters. The scales are stored and learn. An empty
/// scale is ones and costs nothing.
class Scaled final : public Factorization {
 public:
  /// row_scales: f32 or f64 [out], column_scales: [in]; either may be empty.
  /// @throws DataError if a scale has another length or is not finite
  Scaled(std::unique_ptr<Factorization> inner, Tensor row_scales, Tensor column_scales);

  Index num_parameters() const override { return inner_->num_parameters() + row_scales_.size() + column_scales_.size(); }
  Index stored_bytes() const override;
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override;
  void parameters_changed() override { inner_->parameters_changed(); }
  const Factorization& inner() const { return *inner_; }

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;
  /// Of the inner parameters and of the scales, as rows.
  struct Gradients {
    std::span<const TensorView> inner;
    TensorView row_scales, column_scales;
  };
  Gradients split(std::span<const TensorView> gradients) const;
  /// out[i, :] *= row_scales[ids[i]].
  void scale_gathered(std::span<const std::int32_t> ids, TensorView out) const;

  std::unique_ptr<Factorization> inner_;
  Tensor row_scales_, column_scales_;
};

}  // namespace kronlab::decompositions
