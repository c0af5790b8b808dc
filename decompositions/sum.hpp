#pragma once

#include <vector>

#include "decompositions/factorization.hpp"

namespace kronlab::decompositions {

/// W^ = Σ_p W^_p: terms of any kinds, all of one shape, each with its own factors. All of them learn. In its parts the
/// terms are the children "part0", "part1", ...
class Sum final : public Factorization {
 public:
  /// @throws DataError if there are no terms or their shapes differ
  explicit Sum(std::vector<std::unique_ptr<Factorization>> terms);

  Index num_parameters() const override;
  Index stored_bytes() const override;
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override;
  void parameters_changed() override;

  /// "part0" for the first.
  static std::string term_name(std::size_t p) { return fmt::format("part{}", p); }

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;
  /// Each term's share of the gradients.
  std::vector<std::span<const TensorView>> split(std::span<const TensorView> gradients) const;

  std::vector<std::unique_ptr<Factorization>> terms_;
  std::vector<std::size_t> num_gradients_;  ///< of each term
};

}  // namespace kronlab::decompositions
