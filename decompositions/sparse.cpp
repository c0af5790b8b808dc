#include "decompositions/sparse.hpp"

#include <cmath>
#include <utility>

#include "decompositions/dense_panels.hpp"
#include "decompositions/part_access.hpp"
#include "framework/kernels/dispatch.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Write;

Tensor kept_values(ConstTensorView weight, const KeptEntries& kept) {
  if (weight.rows != kept.rows() || weight.cols != kept.cols())
    throw DataError(fmt::format("sparse: a weight {} x {} with entries of {} x {}", weight.rows, weight.cols, kept.rows(), kept.cols()));
  Tensor values(weight.dtype == DType::f64 ? DType::f64 : DType::f32, {kept.size()});
  kernels::add_kept(kept.view(), 0, weight, values.view());
  return values;
}

void expect_finite(const Tensor& values) {
  kernels::for_real_type(values.dtype(), [&]<class Real>(Real) {
    const auto all = values.values<Real>();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!std::isfinite(all[i])) throw DataError(fmt::format("sparse: value {} is {}, expected a finite number", i, all[i]));
    }
  });
}

}  // namespace

Sparse::Sparse(ConstTensorView weight, std::shared_ptr<const KeptEntries> kept) : Sparse(kept_values(weight, *kept), kept) {}

Sparse::Sparse(Tensor values, std::shared_ptr<const KeptEntries> kept)
    : Factorization(kept->rows(), kept->cols()), kept_(std::move(kept)), values_(std::move(values)) {
  const bool is_master = values_.dtype() == DType::f32 || values_.dtype() == DType::f64;
  if (!is_master || values_.size() != kept_->size())
    throw DataError(fmt::format("sparse: {} values of type {} for {} entries", values_.size(), to_string(values_.dtype()), kept_->size()));
  expect_finite(values_);
}

std::unique_ptr<Sparse> Sparse::from_parts(FactorizationParts& parts) {
  Tensor values = take_tensor(parts, "values");
  return std::make_unique<Sparse>(std::move(values), std::make_shared<const KeptEntries>(KeptEntries::from_parts(parts)));
}

Index Sparse::stored_bytes_of(Index rows, Index cols, SparsePattern pattern, Index num_kept) {
  const Index entries = KeptEntries::stored_bytes_of(rows, cols, pattern, num_kept);
  return entries + size_of(DType::f32) * (pattern.m > 0 ? KeptEntries::num_kept(rows, cols, pattern) : num_kept);
}

FactorizationParts Sparse::parts() const {
  FactorizationParts parts{"sparse", {}, {}, {}};
  parts.tensors["values"] = as_stored(values_);
  kept_->add_to(parts);
  return parts;
}

std::unique_ptr<Factorization> Sparse::copy() const { return std::make_unique<Sparse>(values_.clone(), kept_); }

ConstTensorView Sparse::single_values() const {
  if (values_.dtype() == DType::f32) return values_.view();
  if (converted_.is_empty()) converted_ = as_stored(values_);
  return std::as_const(converted_).view();
}

TensorView Sparse::gradient_of(std::span<const TensorView> gradients) const {
  KRONLAB_EXPECTS(gradients.size() == 1 && gradients[0].rows == 1 && gradients[0].cols == values_.size(),
                  "{} gradients for the {} values of a sparse weight, or of another shape", gradients.size(), values_.size());
  return gradients[0];
}

void Sparse::apply_rows(ConstTensorView x, Index first_row, TensorView y, Write write) const {
  constexpr Index few = 8, many = 64;  // rows of x: reading the weight is what takes time; the entries are what takes time
  if (x.dtype != DType::f64 && (x.rows <= few || (x.dtype == DType::f32 && x.rows >= many)))
    return kernels::sparse_product(kept_->view().block(first_row, y.cols), single_values(), x, y, write == Write::add);
  apply_by_panels([&](Index first, TensorView panel) { write_rows(first_row + first, panel); }, x, y, write);
}

void Sparse::do_apply(ConstTensorView x, TensorView y, Write write) const { apply_rows(x, 0, y, write); }

void Sparse::do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const { apply_rows(x, first_row, y, Write::replace); }

void Sparse::do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  apply_adjoint_by_panels([&](Index first, TensorView panel) { write_rows(first, panel); }, y, x, write);
}

void Sparse::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  gather_by_panels([&](Index first, TensorView rows) { write_rows(first, rows); }, ids, out);
}

void Sparse::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients, std::optional<TensorView> dx,
                         Write write) const {
  const TensorView gradient = gradient_of(gradients);
  weight_gradient_by_panels(x, dy, [&](Index first, ConstTensorView rows) { kernels::add_kept(kept_->view(), first, rows, gradient); });
  if (dx) do_apply_adjoint(dy, *dx, write);
}

void Sparse::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const {
  const TensorView gradient = gradient_of(gradients);
  for (std::size_t i = 0; i < ids.size(); ++i)
    kernels::add_kept(kept_->view(), ids[i], dy.block(static_cast<Index>(i), 0, 1, dy.cols), gradient);
}

}  // namespace kronlab::decompositions
