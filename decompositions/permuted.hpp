#pragma once

#include <vector>

#include "decompositions/factorization.hpp"

namespace kronlab::decompositions {

/// W^[rows[i], columns[j]] = inner[i, j]: the inner factorization approximates the weight with its rows and columns
/// rearranged. An empty permutation is the identity. Permutations are stored (4 bytes an index) but are no parameters.
class Permuted final : public Factorization {
 public:
  /// @throws DataError if `rows` or `columns` is not a permutation of the inner extents
  Permuted(std::unique_ptr<Factorization> inner, std::vector<Index> rows, std::vector<Index> columns);

  Index num_parameters() const override { return inner_->num_parameters(); }
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
  std::vector<std::int32_t> inner_ids(std::span<const std::int32_t> ids) const;

  std::unique_ptr<Factorization> inner_;
  std::vector<Index> rows_, columns_;
};

/// @throws DataError saying what is not a permutation of 0 .. n-1
void expect_permutation(const std::vector<Index>& order, Index n, const char* what);

}  // namespace kronlab::decompositions
