#include "decompositions/scaled.hpp"

#include <cmath>
#include <utility>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/elementwise.hpp"
#include "framework/kernels/elementwise_backward.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Write;

void expect_scales(const Tensor& scales, Index n, const char* what) {
  if (scales.is_empty()) return;
  if (scales.size() != n) throw DataError(fmt::format("{}: {} scales, expected {}", what, scales.size(), n));
  const auto values = to_matrix<double>(scales.view());
  for (Index i = 0; i < n; ++i) {
    if (!std::isfinite(values.data()[i])) throw DataError(fmt::format("{}: scale {} is {}", what, i, values.data()[i]));
  }
}

/// A vector as one row.
ConstTensorView row_of(const Tensor& scales) {
  ConstTensorView view = scales.view();
  view.rows = 1, view.cols = view.stride = scales.size();
  return view;
}

/// `view` with scaled columns; itself where there are no scales.
ConstTensorView scaled(const Tensor& scales, ConstTensorView view, Scratch& scratch) {
  if (scales.is_empty()) return view;
  scratch = Scratch(view.rows, view.cols, view.dtype);
  kernels::scale_columns(row_of(scales), view, scratch.view(), false);
  return scratch.view();
}

Tensor copied(const Tensor& scales) { return scales.is_empty() ? Tensor() : scales.clone(); }

}  // namespace

Scaled::Scaled(std::unique_ptr<Factorization> inner, Tensor row_scales, Tensor column_scales)
    : Factorization(inner->rows(), inner->cols()),
      inner_(std::move(inner)),
      row_scales_(std::move(row_scales)),
      column_scales_(std::move(column_scales)) {
  expect_scales(row_scales_, rows(), "row scales");
  expect_scales(column_scales_, cols(), "column scales");
}

Index Scaled::stored_bytes() const {
  return inner_->stored_bytes() + size_of(DType::f32) * (row_scales_.size() + column_scales_.size());
}

FactorizationParts Scaled::parts() const {
  FactorizationParts parts{"scaled", {}, {}, {}};
  if (!row_scales_.is_empty()) parts.tensors["row_scales"] = as_stored(row_scales_);
  if (!column_scales_.is_empty()) parts.tensors["column_scales"] = as_stored(column_scales_);
  parts.children["inner"] = inner_->parts();
  return parts;
}

std::unique_ptr<Factorization> Scaled::copy() const {
  return std::make_unique<Scaled>(inner_->copy(), copied(row_scales_), copied(column_scales_));
}

std::vector<linalg::Parameter> Scaled::parameters() {
  std::vector<linalg::Parameter> all;
  append_parameters("inner", *inner_, all);
  if (!row_scales_.is_empty()) all.push_back({"row_scales", &row_scales_});
  if (!column_scales_.is_empty()) all.push_back({"column_scales", &column_scales_});
  return all;
}

void Scaled::do_apply(ConstTensorView x, TensorView y, Write write) const {
  Scratch scratch;
  const ConstTensorView in = scaled(column_scales_, x, scratch);
  if (row_scales_.is_empty()) return inner_->apply(in, y, write);
  const Scratch out(y.rows, y.cols, x.dtype);
  inner_->apply(in, out.view());
  kernels::scale_columns(row_of(row_scales_), out.view(), y, write == Write::add);
}

void Scaled::do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  Scratch scratch;
  const ConstTensorView in = scaled(row_scales_, y, scratch);
  if (column_scales_.is_empty()) return inner_->apply_adjoint(in, x, write);
  const Scratch out(x.rows, x.cols, y.dtype);
  inner_->apply_adjoint(in, out.view());
  kernels::scale_columns(row_of(column_scales_), out.view(), x, write == Write::add);
}

void Scaled::scale_gathered(std::span<const std::int32_t> ids, TensorView out) const {
  if (row_scales_.is_empty()) return;
  Tensor scales(row_scales_.dtype(), {1, static_cast<Index>(ids.size())});
  kernels::for_real_type(row_scales_.dtype(), [&]<class Real>(Real) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      scales.values<Real>()[i] = std::as_const(row_scales_).values<Real>()[static_cast<std::size_t>(ids[i])];
    }
  });
  kernels::scale_rows(std::as_const(scales).view(), out);
}

void Scaled::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  inner_->gather_rows(ids, out);
  scale_gathered(ids, out);
  if (!column_scales_.is_empty()) kernels::scale_columns(row_of(column_scales_), out, out, false);
}

Scaled::Gradients Scaled::split(std::span<const TensorView> gradients) const {
  const std::size_t num_own = !row_scales_.is_empty() + !column_scales_.is_empty();
  KRONLAB_EXPECTS(gradients.size() >= num_own, "{} gradients of a scaled factorization", gradients.size());
  Gradients split{gradients.first(gradients.size() - num_own), {}, {}};
  const auto own = [&](std::size_t i, const Tensor& scales) {
    const TensorView gradient = gradients[i];
    KRONLAB_EXPECTS(gradient.rows == 1 && gradient.cols == scales.size(), "a gradient [{}, {}] of {} scales", gradient.rows, gradient.cols, scales.size());
    return gradient;
  };
  if (!row_scales_.is_empty()) split.row_scales = own(split.inner.size(), row_scales_);
  if (!column_scales_.is_empty()) split.column_scales = own(gradients.size() - 1, column_scales_);
  return split;
}

void Scaled::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                         std::optional<TensorView> dx, Write write) const {
  const Gradients of = split(gradients);
  Scratch scaled_x, scaled_dy;
  const ConstTensorView in = scaled(column_scales_, x, scaled_x), d_out = scaled(row_scales_, dy, scaled_dy);
  if (!row_scales_.is_empty()) {
    const Scratch inner_y(dy.rows, dy.cols, dy.dtype);
    inner_->apply(in, inner_y.view());
    kernels::add_column_products(inner_y.view(), dy, of.row_scales);
  }
  if (column_scales_.is_empty()) return inner_->backward(in, d_out, of.inner, dx, write);
  const Scratch d_in(x.rows, x.cols, x.dtype);
  inner_->backward(in, d_out, of.inner, d_in.view());
  kernels::add_column_products(x, d_in.view(), of.column_scales);
  if (dx) kernels::scale_columns(row_of(column_scales_), d_in.view(), *dx, write == Write::add);
}

void Scaled::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                                std::span<const TensorView> gradients) const {
  const Gradients of = split(gradients);
  Scratch copy;
  const Scratch rows(dy.rows, dy.cols, dy.dtype), d_rows(dy.rows, dy.cols, dy.dtype);
  inner_->gather_rows(ids, rows.view());
  const ConstTensorView d_scaled = scaled(column_scales_, dy, copy);
  if (!row_scales_.is_empty()) kernels::add_row_products(ids, rows.view(), d_scaled, of.row_scales);
  if (!column_scales_.is_empty()) {
    convert(dy, d_rows.view());
    scale_gathered(ids, d_rows.view());
    kernels::add_column_products(rows.view(), d_rows.view(), of.column_scales);
  }
  convert(d_scaled, d_rows.view());
  scale_gathered(ids, d_rows.view());
  inner_->backward_gather(ids, d_rows.view(), of.inner);
}

}  // namespace kronlab::decompositions
