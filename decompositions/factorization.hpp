#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/linalg/linear_operator.hpp"

namespace kronlab::decompositions {

/// How a factorization is stored: what it is, its numbers, its tensors and the factorizations inside it.
/// `make_factorization` turns it back into a Factorization.
struct FactorizationParts {
  std::string kind;                       ///< "dense", "low-rank", "kronecker-sum", "permuted", "quantised", "quantised-dense", "scaled", "sparse", "sum"
  std::map<std::string, Index> integers;  ///< shapes that the tensors do not tell
  std::map<std::string, Tensor> tensors;  ///< f32 factors, those learned in f64 rounded; f16 scales; i32 permutations, packed bits
  std::map<std::string, FactorizationParts> children;
};

/// A linear operator stored as factors. Factorizations compose: a leaf is one idea, a combinator wraps any of them.
///
/// Its parameters are called as in its parts: "left", and "inner.left" for those of a factorization inside. Those
/// inside come first, so a combinator hands on the leading part of its gradients.
class Factorization : public linalg::Trainable {
 public:
  /// Bytes of everything that must be stored: factors in f32, permutations, scales.
  virtual Index stored_bytes() const = 0;
  virtual FactorizationParts parts() const = 0;
  /// A copy with its own numbers, in the types they have here.
  virtual std::unique_ptr<Factorization> copy() const = 0;
  std::shared_ptr<linalg::Trainable> clone() const final { return copy(); }

 protected:
  using Trainable::Trainable;
};

/// The weight as it is.
class Dense final : public Factorization {
 public:
  /// weight: f32 or f64 [out, in]
  explicit Dense(Tensor weight);
  Index num_parameters() const override { return operator_.num_parameters(); }
  Index stored_bytes() const override { return num_parameters() * size_of(DType::f32); }
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override { return operator_.parameters(); }
  void parameters_changed() override { operator_.parameters_changed(); }
  bool has_slices() const override { return true; }
  const Tensor& weight() const { return operator_.weight(); }

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  linalg::DenseOperator operator_;
};

/// W^ = U V with U: [out, r], V: [r, in].
class LowRank final : public Factorization {
 public:
  /// Both f32 or f64.
  LowRank(Tensor left, Tensor right);
  Index num_parameters() const override { return left_.num_parameters() + right_.num_parameters(); }
  Index stored_bytes() const override { return num_parameters() * size_of(DType::f32); }
  FactorizationParts parts() const override;
  std::unique_ptr<Factorization> copy() const override;
  std::vector<linalg::Parameter> parameters() override;
  void parameters_changed() override;

 private:
  void do_apply(ConstTensorView x, TensorView y, linalg::Write write) const override;
  void do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const override;
  void do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const override;
  void do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                   std::optional<TensorView> dx, linalg::Write write) const override;
  void do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                          std::span<const TensorView> gradients) const override;

  linalg::DenseOperator left_, right_;
};

/// A copy in f32: how factors are stored.
Tensor as_stored(const Tensor& factor);
/// Appends the parameters of a factorization inside another, as "part.name".
void append_parameters(const std::string& part, Factorization& inside, std::vector<linalg::Parameter>& parameters);

/// The inverse of Factorization::parts. @throws DataError naming an unknown kind or a tensor that is missing
std::unique_ptr<Factorization> make_factorization(FactorizationParts parts);

/// One byte string, for messages between ranks: length-prefixed, the same on every rank of a homogeneous machine.
std::string serialise(const FactorizationParts& parts);
FactorizationParts deserialise(std::string_view bytes);

/// A copy of the parts, for keeping both.
FactorizationParts copy_of(const FactorizationParts& parts);

}  // namespace kronlab::decompositions
