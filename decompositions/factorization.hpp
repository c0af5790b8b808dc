#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/linalg/linear_operator.hpp"

namespace kronlab::decompositions {

/// How a factorization is stored: what it is, its numbers, its tensors and the factorizations inside it.
/// `make_factorization` turns it back into a Factorization.
struct FactorizationParts {
  std::string kind;                       ///< "dense", "low-rank", "kronecker-sum", "permuted"
  std::map<std::string, Index> integers;  ///< shapes that the tensors do not tell
  std::map<std::string, Tensor> tensors;  ///< f32 factors; i32 permutations
  std::map<std::string, FactorizationParts> children;
};

/// A linear operator stored as factors. Factorizations compose: a leaf is one idea, a combinator wraps any of them.
class Factorization : public linalg::LinearOperator {
 public:
  /// Bytes of everything that must be stored: factors at their stored width, permutations, scales.
  virtual Index stored_bytes() const = 0;
  virtual FactorizationParts parts() const = 0;

 protected:
  using LinearOperator::LinearOperator;
};

/// The weight as it is.
class Dense final : public Factorization {
 public:
  /// weight: f32 [out, in]
  explicit Dense(Tensor weight);
  Index num_parameters() const override { return operator_.num_parameters(); }
  Index stored_bytes() const override { return operator_.weight().size_bytes(); }
  FactorizationParts parts() const override;
  bool has_slices() const override { return true; }
  const Tensor& weight() const { return operator_.weight(); }

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const override;

  linalg::DenseOperator operator_;
};

/// W^ = U V with U: [out, r], V: [r, in].
class LowRank final : public Factorization {
 public:
  LowRank(Tensor left, Tensor right);
  Index num_parameters() const override { return left_.num_parameters() + right_.num_parameters(); }
  Index stored_bytes() const override { return left_.weight().size_bytes() + right_.weight().size_bytes(); }
  FactorizationParts parts() const override;

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;

  linalg::DenseOperator left_, right_;
  mutable Tensor scratch_;
};

/// The inverse of Factorization::parts. @throws DataError naming an unknown kind or a tensor that is missing
std::unique_ptr<Factorization> make_factorization(FactorizationParts parts);

/// One byte string, for messages between ranks: length-prefixed, the same on every rank of a homogeneous machine.
std::string serialise(const FactorizationParts& parts);
FactorizationParts deserialise(std::string_view bytes);

/// A copy of the parts, for keeping both.
FactorizationParts copy_of(const FactorizationParts& parts);

}  // namespace kronlab::decompositions
