#include <utility>

#include "decompositions/factorization.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {

Tensor as_stored(const Tensor& factor) {
  Tensor stored = Tensor::uninitialised(DType::f32, factor.shape());
  convert(factor.view(), stored.view());
  return stored;
}

void append_parameters(const std::string& part, Factorization& inside, std::vector<linalg::Parameter>& parameters) {
  for (const auto& [name, value] : inside.parameters()) parameters.push_back({part + "." + name, value});
}

Dense::Dense(Tensor weight) : Factorization(weight.rows(), weight.cols()), operator_(std::move(weight)) {}

FactorizationParts Dense::parts() const {
  FactorizationParts parts{"dense", {}, {}, {}};
  parts.tensors["weight"] = as_stored(weight());
  return parts;
}

std::unique_ptr<Factorization> Dense::copy() const { return std::make_unique<Dense>(weight().clone()); }

void Dense::do_apply(ConstTensorView x, TensorView y, linalg::Write write) const { operator_.apply(x, y, write); }
void Dense::do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const {
  operator_.apply_adjoint(y, x, write);
}
void Dense::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const { operator_.gather_rows(ids, out); }
void Dense::do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const {
  operator_.apply_slice(x, first_row, y);
}
void Dense::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                        std::optional<TensorView> dx, linalg::Write write) const {
  operator_.backward(x, dy, gradients, dx, write);
}
void Dense::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                               std::span<const TensorView> gradients) const {
  operator_.backward_gather(ids, dy, gradients);
}

LowRank::LowRank(Tensor left, Tensor right)
    : Factorization(left.rows(), right.cols()), left_(std::move(left)), right_(std::move(right)) {
  KRONLAB_EXPECTS(left_.cols() == right_.rows(), "low rank: left has {} columns, right {} rows", left_.cols(),
                  right_.rows());
}

FactorizationParts LowRank::parts() const {
  FactorizationParts parts{"low-rank", {}, {}, {}};
  parts.tensors["left"] = as_stored(left_.weight());
  parts.tensors["right"] = as_stored(right_.weight());
  return parts;
}

std::unique_ptr<Factorization> LowRank::copy() const {
  return std::make_unique<LowRank>(left_.weight().clone(), right_.weight().clone());
}

std::vector<linalg::Parameter> LowRank::parameters() {
  return {{"left", left_.parameters()[0].value}, {"right", right_.parameters()[0].value}};
}

void LowRank::parameters_changed() {
  left_.parameters_changed();
  right_.parameters_changed();
}

void LowRank::do_apply(ConstTensorView x, TensorView y, linalg::Write write) const {
  const Scratch inner(x.rows, right_.rows(), x.dtype);
  right_.apply(x, inner.view());
  left_.apply(inner.view(), y, write);
}

void LowRank::do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const {
  const Scratch inner(y.rows, right_.rows(), y.dtype);
  left_.apply_adjoint(y, inner.view());
  right_.apply_adjoint(inner.view(), x, write);
}

void LowRank::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  const Scratch inner(out.rows, right_.rows(), out.dtype);
  left_.gather_rows(ids, inner.view());
  right_.apply_adjoint(inner.view(), out);
}

void LowRank::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                          std::optional<TensorView> dx, linalg::Write write) const {
  KRONLAB_EXPECTS(gradients.size() == 2, "low rank: {} gradients for two factors", gradients.size());
  const Scratch inner(x.rows, right_.rows(), x.dtype), d_inner(x.rows, right_.rows(), x.dtype);
  right_.apply(x, inner.view());
  left_.backward(inner.view(), dy, gradients.first(1), d_inner.view());
  right_.backward(x, d_inner.view(), gradients.last(1), dx, write);
}

/// out = U[ids] V: the gradient of V is U[ids]^T dy, that of y = x V^T at x = dy, dy = U[ids].
void LowRank::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                                 std::span<const TensorView> gradients) const {
  KRONLAB_EXPECTS(gradients.size() == 2, "low rank: {} gradients for two factors", gradients.size());
  const Scratch inner(dy.rows, right_.rows(), dy.dtype);
  left_.gather_rows(ids, inner.view());
  right_.backward(dy, inner.view(), gradients.last(1), std::nullopt);
  right_.apply(dy, inner.view());
  left_.backward_gather(ids, inner.view(), gradients.first(1));
}

}  // namespace kronlab::decompositions
