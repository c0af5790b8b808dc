#include "decompositions/permuted.hpp"

#include <utility>

#include "framework/kernels/kronecker.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {
namespace {

using kernels::Move;

Tensor as_tensor(const std::vector<Index>& order) {
  Tensor tensor(DType::i32, {static_cast<Index>(order.size())});
  for (std::size_t i = 0; i < order.size(); ++i) tensor.values<std::int32_t>()[i] = static_cast<std::int32_t>(order[i]);
  return tensor;
}

/// `view` with its columns in the inner sequence; itself where the order is the identity.
ConstTensorView gathered(const std::vector<Index>& order, ConstTensorView view, Scratch& scratch) {
  if (order.empty()) return view;
  scratch = Scratch(view.rows, view.cols, view.dtype);
  kernels::permute_columns(order, Move::gather, view, scratch.view(), false);
  return scratch.view();
}

}  // namespace

void expect_permutation(const std::vector<Index>& order, Index n, const char* what) {
  if (static_cast<Index>(order.size()) != n)
    throw DataError(fmt::format("{}: {} entries, expected a permutation of {}", what, order.size(), n));
  std::vector<bool> seen(order.size());
  for (const Index i : order) {
    if (i < 0 || i >= n || seen[static_cast<std::size_t>(i)])
      throw DataError(fmt::format("{}: {} is out of range or there twice, expected a permutation of {}", what, i, n));
    seen[static_cast<std::size_t>(i)] = true;
  }
}

Permuted::Permuted(std::unique_ptr<Factorization> inner, std::vector<Index> rows, std::vector<Index> columns)
    : Factorization(inner->rows(), inner->cols()),
      inner_(std::move(inner)),
      rows_(std::move(rows)),
      columns_(std::move(columns)) {
  if (!rows_.empty()) expect_permutation(rows_, inner_->rows(), "row permutation");
  if (!columns_.empty()) expect_permutation(columns_, inner_->cols(), "column permutation");
}

Index Permuted::stored_bytes() const {
  return inner_->stored_bytes() + 4 * static_cast<Index>(rows_.size() + columns_.size());
}

FactorizationParts Permuted::parts() const {
  FactorizationParts parts{"permuted", {}, {}, {}};
  if (!rows_.empty()) parts.tensors["rows"] = as_tensor(rows_);
  if (!columns_.empty()) parts.tensors["columns"] = as_tensor(columns_);
  parts.children["inner"] = inner_->parts();
  return parts;
}

std::unique_ptr<Factorization> Permuted::copy() const {
  return std::make_unique<Permuted>(inner_->copy(), rows_, columns_);
}

std::vector<linalg::Parameter> Permuted::parameters() {
  std::vector<linalg::Parameter> all;
  append_parameters("inner", *inner_, all);
  return all;
}

std::vector<std::int32_t> Permuted::inner_ids(std::span<const std::int32_t> ids) const {
  std::vector<std::int32_t> inner(ids.begin(), ids.end());
  if (rows_.empty()) return inner;
  std::vector<std::int32_t> position(rows_.size());
  for (std::size_t i = 0; i < rows_.size(); ++i)
    position[static_cast<std::size_t>(rows_[i])] = static_cast<std::int32_t>(i);
  for (auto& id : inner) id = position[static_cast<std::size_t>(id)];
  return inner;
}

void Permuted::do_apply(ConstTensorView x, TensorView y, linalg::Write write) const {
  Scratch moved;
  const ConstTensorView in = gathered(columns_, x, moved);
  if (rows_.empty()) return inner_->apply(in, y, write);
  const Scratch out(y.rows, y.cols, y.dtype);
  inner_->apply(in, out.view());
  kernels::permute_columns(rows_, Move::scatter, out.view(), y, write == linalg::Write::add);
}

void Permuted::do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const {
  Scratch moved;
  const ConstTensorView in = gathered(rows_, y, moved);
  if (columns_.empty()) return inner_->apply_adjoint(in, x, write);
  const Scratch out(x.rows, x.cols, x.dtype);
  inner_->apply_adjoint(in, out.view());
  kernels::permute_columns(columns_, Move::scatter, out.view(), x, write == linalg::Write::add);
}

void Permuted::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  if (columns_.empty()) return inner_->gather_rows(inner_ids(ids), out);
  const Scratch inner_out(out.rows, out.cols, out.dtype);
  inner_->gather_rows(inner_ids(ids), inner_out.view());
  kernels::permute_columns(columns_, Move::scatter, inner_out.view(), out, false);
}

void Permuted::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                           std::optional<TensorView> dx, linalg::Write write) const {
  Scratch moved_x, moved_dy;
  const ConstTensorView in = gathered(columns_, x, moved_x), d_out = gathered(rows_, dy, moved_dy);
  if (!dx || columns_.empty()) return inner_->backward(in, d_out, gradients, dx, write);
  const Scratch d_in(dx->rows, dx->cols, dx->dtype);
  inner_->backward(in, d_out, gradients, d_in.view());
  kernels::permute_columns(columns_, Move::scatter, d_in.view(), *dx, write == linalg::Write::add);
}

void Permuted::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                                  std::span<const TensorView> gradients) const {
  Scratch moved;
  inner_->backward_gather(inner_ids(ids), gathered(columns_, dy, moved), gradients);
}

}  // namespace kronlab::decompositions
