#pragma once

#include <memory>
#include <optional>

#include "decompositions/quantisation_grid.hpp"
#include "decompositions/sparse_pattern.hpp"
#include "framework/kernels/packed_codes.hpp"

namespace kronlab::decompositions {

/// What a quantised weight is made of. Columns are numbered by their place in `order`.
struct QuantisedCodes {
  Index rows = 0, cols = 0;
  QuantisationGrid grid;
  std::vector<std::uint8_t> codes;  ///< [rows, cols], each below 2^bits
  Tensor scales;                    ///< [rows, groups] f32 (or f64, where they learn in double)
  std::vector<std::uint8_t> zeros;  ///< [rows, groups], each below 2^bits; empty where symmetric
  std::vector<Index> order;         ///< place p holds column order[p] of the weight; empty: the columns' own sequence
  std::shared_ptr<const KeptEntries> kept;  ///< the others are 0 and their codes not looked at; null: all are there
};

/// A weight in few bits: W[i, order[p]] = scale[i, g] (code[i, p] - zero[i, g]), where group g holds place p.
///
/// Stored as codes of `bits` bits, those of kept entries only; scales in f16 where that loses nothing (it does not if they
/// are rounded_scale and have not learned), else in f32; zeros in `bits` bits each; the order in 32. In memory: the codes of
/// all entries in `bits` bits, scales in f32, zeros in bytes.
///
/// The scales learn, the codes do not (PEQA: Kim et al., arXiv:2305.14152). A few rows of activations are multiplied from the
/// codes; more, or f64, with panels of the weight written out in their type.
class QuantisedDense final : public Factorization {
 public:
  /// @throws DataError on arrays of another size, codes or zeros out of range, scales that are not finite, an order that is no
  /// permutation; ConfigError on an impossible grid
  explicit QuantisedDense(QuantisedCodes content);
  static std::unique_ptr<QuantisedDense> from_parts(FactorizationParts& parts);

  /// Without any weight, with scales in f16. num_kept: codes that are stored, none for all; the entries that stay are stored
  /// as KeptEntries of this pattern.
  /// @throws ConfigError as expect_possible and KeptEntries::stored_bytes_of
  static Index stored_bytes_of(Index rows, Index cols, const QuantisationGrid& grid, bool has_order,
                               std::optional<Index> num_kept = {}, SparsePattern pattern = {});

  Index num_parameters() const override { return kept_ ? kept_->size() : rows() * cols(); }  ///< entries that have a code
  Index stored_bytes() const override;
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override { return {{"scales", &scales_}}; }
  void parameters_changed() override {}
  bool has_slices() const override { return true; }
  const QuantisationGrid& grid() const { return grid_; }
  /// The code of each entry, by place; of those not kept the zero of their group.
  std::vector<std::uint8_t> codes() const;

 private:
  QuantisedDense(const QuantisedDense& other);
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  kernels::PackedCodes view(Index first_row, Index num_rows) const;
  /// Rows [first_row, first_row + y.cols).
  void apply_rows(ConstTensorView x, Index first_row, TensorView y, linalg::Write write) const;
  bool has_half_scales() const;
  TensorView gradient_of(std::span<const TensorView> gradients) const;

  QuantisationGrid grid_;
  std::vector<std::uint32_t> packed_;  ///< rows as kernels::pack_row lays them out
  Tensor scales_;                      ///< [rows, groups] f32 or f64
  std::vector<std::uint8_t> zeros_;    ///< [rows, groups]
  std::vector<Index> order_;
  std::shared_ptr<const KeptEntries> kept_;
};

}  // namespace kronlab::decompositions
