#pragma once

#include "decompositions/factorization.hpp"
#include "framework/kernels/row_trains.hpp"

namespace kronlab::decompositions {

/// A table whose rows are tensor trains of their own: row v, as a tensor [d_0, d_1, ...], is G_0[v] G_1[v] ... A lookup
/// multiplies the cores of its row. Applied as a matrix (a tied head) some rows at a time are expanded, so it takes no
/// fewer multiply-adds than the dense table, and less memory.
///
/// TensorGPT: Xu et al., 2307.00526.
class TokenTrains final : public Factorization {
 public:
  /// cores: f32 or f64, each [vocabulary, r_k, d_k, r_(k+1)].
  /// @throws DataError if a core has no four extents, or other rows or another bond than its neighbour, or an outer bond
  /// is not 1
  explicit TokenTrains(std::vector<Tensor> cores);

  Index num_parameters() const override;
  Index stored_bytes() const override { return num_parameters() * size_of(DType::f32); }
  bool has_slices() const override { return true; }
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override;
  void parameters_changed() override { converted_.clear(); }

  /// "core0" for the first.
  static std::string core_name(std::size_t k) { return fmt::format("core{}", k); }

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  /// Cores as [vocabulary, elements], in f32 or f64.
  std::vector<ConstTensorView> cores_as(DType dtype) const;
  /// The gradients as the cores.
  std::vector<TensorView> checked(std::span<const TensorView> gradients) const;
  /// body(first row, ids) for strips of rows.
  template <class Body>
  void for_strips(Body body) const;

  std::vector<Tensor> cores_;
  kernels::RowTrainShape shape_;
  mutable std::vector<Tensor> converted_;  ///< the cores in the other type, until they change
};

}  // namespace kronlab::decompositions
