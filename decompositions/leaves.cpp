#include <utility>

#include "decompositions/factorization.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {

Dense::Dense(Tensor weight) : Factorization(weight.rows(), weight.cols()), operator_(std::move(weight)) {}

FactorizationParts Dense::parts() const {
  FactorizationParts parts{"dense", {}, {}, {}};
  parts.tensors["weight"] = weight().clone();
  return parts;
}

void Dense::do_apply(ConstTensorView x, TensorView y, linalg::Write write) const { operator_.apply(x, y, write); }
void Dense::do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const {
  operator_.apply_adjoint(y, x, write);
}
void Dense::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const { operator_.gather_rows(ids, out); }
void Dense::do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const {
  operator_.apply_slice(x, first_row, y);
}

LowRank::LowRank(Tensor left, Tensor right)
    : Factorization(left.rows(), right.cols()), left_(std::move(left)), right_(std::move(right)) {
  KRONLAB_EXPECTS(left_.cols() == right_.rows(), "low rank: left has {} columns, right {} rows", left_.cols(),
                  right_.rows());
}

FactorizationParts LowRank::parts() const {
  FactorizationParts parts{"low-rank", {}, {}, {}};
  parts.tensors["left"] = left_.weight().clone();
  parts.tensors["right"] = right_.weight().clone();
  return parts;
}

void LowRank::do_apply(ConstTensorView x, TensorView y, linalg::Write write) const {
  const TensorView inner = resized(scratch_, x.rows, right_.rows(), x.dtype);
  right_.apply(x, inner);
  left_.apply(inner, y, write);
}

void LowRank::do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const {
  const TensorView inner = resized(scratch_, y.rows, right_.rows(), y.dtype);
  left_.apply_adjoint(y, inner);
  right_.apply_adjoint(inner, x, write);
}

void LowRank::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  const TensorView inner = resized(scratch_, static_cast<Index>(ids.size()), right_.rows(), out.dtype);
  left_.gather_rows(ids, inner);
  right_.apply_adjoint(inner, out);
}

}  // namespace kronlab::decompositions
