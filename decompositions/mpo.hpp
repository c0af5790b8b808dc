#pragma once

#include <array>

#include "decompositions/factorization.hpp"
#include "decompositions/mpo_contraction.hpp"

namespace kronlab::decompositions {

/// A matrix-product operator: W^[(i_0 ... i_d), (j_0 ... j_d)] = G_0[i_0, j_0] G_1[i_1, j_1] ... G_d[i_d, j_d], with
/// matrices G_k[i, j] of the bond dimensions between neighbouring sites. The first index of a row or column is the most
/// significant. Core k is stored as [left bond, rows, cols, right bond].
///
/// A batch is contracted in the sequence with the fewest multiply-adds (cheapest_plan); backward has its own. Rows may be
/// padded: those behind the last one are never seen.
///
/// What the plan merges is kept until the cores change: where merging all of them takes the fewest multiply-adds, which is
/// so unless bonds are small or sites have one column or row, that is the dense matrix, and neither memory nor time is
/// saved by applying it.
///
/// Oseledets, Tensor-train decomposition, 2011; of linear layers: Novikov et al., 1509.06569; of language models:
/// CompactifAI, 2401.14109.
class Mpo final : public Factorization {
 public:
  /// cores: f32 or f64, one type. rows: at most the product of the cores' rows.
  /// @throws DataError if a core has no four extents, bonds of neighbours differ, an outer bond is not 1, or the rows are
  /// more than there are
  Mpo(std::vector<Tensor> cores, Index rows);

  Index num_parameters() const override;
  Index stored_bytes() const override { return num_parameters() * size_of(DType::f32); }
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override;
  void parameters_changed() override;
  const std::vector<CoreShape>& shapes() const { return shapes_; }
  /// The sequence in which a pass contracts.
  const ContractionPlan& plan(Pass pass) const { return plans_[static_cast<std::size_t>(pass)]; }

  /// "core0" for the first.
  static std::string core_name(std::size_t k) { return fmt::format("core{}", k); }

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  void expect_gradients(std::span<const TensorView> gradients) const;
  const Contraction& contraction(Pass pass, DType dtype) const;
  /// The cores in f32 or f64, as [left, rows cols right].
  std::vector<ConstTensorView> cores_as(DType dtype) const;
  Index padded_rows() const;
  /// Rows of a batch with zeros behind, where the operator's rows are padded.
  ConstTensorView padded(ConstTensorView y, Scratch& memory) const;

  std::vector<Tensor> cores_;
  std::vector<CoreShape> shapes_;
  std::array<ContractionPlan, 2> plans_;  ///< by Pass
  // Derived from the cores, kept until they change.
  mutable std::vector<std::pair<Pass, Contraction>> contractions_;
  mutable std::vector<Tensor> converted_;
};

}  // namespace kronlab::decompositions
