#pragma once

#include "decompositions/factorization.hpp"
#include "decompositions/quantisation_grid.hpp"

namespace kronlab::decompositions {

/// A factorization whose factors are held in few bits, each rounded to the nearest: every tensor of its parts that is f32 and
/// has two extents or more. Vectors (scales) and permutations stay as they are.
///
/// A group is that many neighbours in a factor's own sequence, across its rows, so that thin factors have no more scales than
/// wide ones; 0: a row of the factor. Codes, scales and zeros are stored as those of QuantisedDense.
///
/// The factors are written out in f32 once, when it is made, and applied as those of `inner`: it takes the time of `inner` and
/// its memory beside the packed factors. It does not learn: it has no parameters.
class Quantised final : public Factorization {
 public:
  /// @throws ConfigError on an impossible grid; DataError if inner has no such factor, has one quantised already or a number
  /// that is not finite
  Quantised(const Factorization& inner, const QuantisationGrid& grid);
  static std::unique_ptr<Quantised> from_parts(FactorizationParts& parts);

  /// What a factor of this shape takes in place of 4 bytes a number. @throws ConfigError on an impossible grid
  static Index factor_bytes(Index rows, Index cols, const QuantisationGrid& grid);

  Index num_parameters() const override { return inner_->num_parameters(); }
  Index stored_bytes() const override;
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override { return {}; }
  void parameters_changed() override {}
  bool has_slices() const override { return inner_->has_slices(); }

 private:
  Quantised(FactorizationParts packed, const QuantisationGrid& grid, std::unique_ptr<Factorization> inner);
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override { inner_->apply(x, y, write); }
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override { inner_->apply_adjoint(y, x, write); }
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override { inner_->gather_rows(ids, out); }
  void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const override { inner_->apply_slice(x, first_row, y); }
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients, std::optional<TensorView> dx,
                   linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const override;

  FactorizationParts packed_;  ///< of inner, "left.codes", "left.scales" and "left.zeros" in the place of "left"
  QuantisationGrid grid_;
  std::unique_ptr<Factorization> inner_;
};

}  // namespace kronlab::decompositions
