#include "decompositions/monarch.hpp"

#include <numeric>
#include <utility>

#include "framework/kernels/elementwise_backward.hpp"
#include "framework/kernels/tensor_axes.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::decompositions {
namespace {

using kernels::swap_axes;
using linalg::gemm;
using linalg::Transpose;
using linalg::Write;

MonarchShape shape_of(const Tensor& left, const Tensor& right) {
  const auto is_master = [](const Tensor& t) { return t.dtype() == DType::f32 || t.dtype() == DType::f64; };
  if (left.shape().size() != 3 || right.shape().size() != 3 || left.is_empty() || right.is_empty() || !is_master(left) || left.dtype() != right.dtype())
    throw DataError("monarch: left and right are no arrays of floats with three extents");
  const Index m2 = left.shape()[0], n1 = right.shape()[0], r = right.shape()[1] / m2;
  if (right.shape()[1] != m2 * r || r < 1 || left.shape()[2] != n1 * r) {
    throw DataError(fmt::format("monarch: left blocks [{}, {}, {}] do not fit right blocks [{}, {}, {}]", m2, left.shape()[1], left.shape()[2], n1,
                                right.shape()[1], right.shape()[2]));
  }
  return {left.shape()[1], m2, n1, right.shape()[2], r};
}

ConstTensorView in_type(const Tensor& factor, Tensor& converted, DType dtype) {
  if (factor.dtype() == dtype) return factor.view();
  if (converted.is_empty() || converted.dtype() != dtype) {
    converted = Tensor::uninitialised(dtype, factor.shape());
    convert(factor.view(), converted.view());
  }
  return std::as_const(converted).view();
}

double beta_of(Write write) { return write == Write::add ? 1.0 : 0.0; }

/// Rows (a, b) of the matrix with the same b.
struct BlockRows {
  std::vector<std::size_t> places;  ///< among the ids
  std::vector<std::int32_t> rows;   ///< a
};

std::vector<BlockRows> by_block(std::span<const std::int32_t> ids, Index num_blocks) {
  std::vector<BlockRows> blocks(static_cast<std::size_t>(num_blocks));
  for (std::size_t t = 0; t < ids.size(); ++t) {
    auto& block = blocks[static_cast<std::size_t>(ids[t] % num_blocks)];
    block.places.push_back(t);
    block.rows.push_back(static_cast<std::int32_t>(ids[t] / num_blocks));
  }
  return blocks;
}

/// to[i] = from[places[i]], or from[places[i]] = to[i].
void gather(std::span<const std::size_t> places, ConstTensorView from, TensorView to) {
  for (std::size_t i = 0; i < places.size(); ++i)
    convert(from.block(static_cast<Index>(places[i]), 0, 1, from.cols), to.block(static_cast<Index>(i), 0, 1, to.cols));
}

}  // namespace

Monarch::Monarch(Tensor left, Tensor right)
    : Factorization(shape_of(left, right).left_rows * left.shape()[0], right.shape()[0] * right.shape()[2]),
      left_(std::move(left)),
      right_(std::move(right)),
      shape_(shape_of(left_, right_)) {}

FactorizationParts Monarch::parts() const {
  FactorizationParts parts{"monarch", {}, {}, {}};
  parts.tensors["left"] = as_stored(left_);
  parts.tensors["right"] = as_stored(right_);
  return parts;
}

Monarch::Factors<ConstTensorView> Monarch::factors_as(DType dtype) const {
  return {in_type(left_, converted_left_, dtype), in_type(right_, converted_right_, dtype)};
}

Monarch::Factors<TensorView> Monarch::checked(std::span<const TensorView> gradients) const {
  KRONLAB_EXPECTS(gradients.size() == 2, "monarch: {} gradients for two factors", gradients.size());
  for (const auto& [gradient, factor] : {std::pair{&gradients[0], &left_}, {&gradients[1], &right_}}) {
    KRONLAB_EXPECTS(gradient->rows == factor->rows() && gradient->cols == factor->cols(), "monarch: the gradient of [{}, {}] is [{}, {}]",
                    factor->rows(), factor->cols(), gradient->rows, gradient->cols);
  }
  return {gradients[0], gradients[1]};
}

Scratch Monarch::inner(const Factors<ConstTensorView>& factors, ConstTensorView x) const {
  const auto& s = shape_;
  const Index wide = s.left_blocks * s.num_terms;
  const Scratch by_right(x.rows, s.right_blocks * wide, x.dtype);
  for (Index c = 0; c < s.right_blocks; ++c) {
    gemm(Transpose::no, x.block(0, c * s.right_cols, x.rows, s.right_cols), Transpose::yes, right_block(factors.right, c), 0.0,
         by_right.view().block(0, c * wide, x.rows, wide));
  }
  Scratch by_left(x.rows, s.right_blocks * wide, x.dtype);
  swap_axes({s.right_blocks, s.left_blocks, s.num_terms}, by_right.view(), by_left.view());
  return by_left;
}

Scratch Monarch::by_blocks(ConstTensorView y) const {
  Scratch moved(y.rows, y.cols, y.dtype);
  swap_axes({shape_.left_rows, shape_.left_blocks, 1}, y, moved.view());
  return moved;
}

Scratch Monarch::inner_adjoint(const Factors<ConstTensorView>& factors, ConstTensorView y) const {
  const auto& s = shape_;
  const Index wide = s.right_blocks * s.num_terms;
  const Scratch by_left(y.rows, s.left_blocks * wide, y.dtype);
  for (Index b = 0; b < s.left_blocks; ++b) {
    gemm(Transpose::no, y.block(0, b * s.left_rows, y.rows, s.left_rows), Transpose::no, left_block(factors.left, b), 0.0,
         by_left.view().block(0, b * wide, y.rows, wide));
  }
  Scratch by_right(y.rows, s.left_blocks * wide, y.dtype);
  swap_axes({s.left_blocks, s.right_blocks, s.num_terms}, by_left.view(), by_right.view());
  return by_right;
}

void Monarch::finish_adjoint(const Factors<ConstTensorView>& factors, ConstTensorView inner, TensorView x, Write write) const {
  const Index wide = shape_.left_blocks * shape_.num_terms, n2 = shape_.right_cols;
  for (Index c = 0; c < shape_.right_blocks; ++c) {
    gemm(Transpose::no, inner.block(0, c * wide, inner.rows, wide), Transpose::no, right_block(factors.right, c), beta_of(write),
         x.block(0, c * n2, x.rows, n2));
  }
}

void Monarch::do_apply(ConstTensorView x, TensorView y, Write write) const {
  const auto& s = shape_;
  const auto factors = factors_as(x.dtype);
  const Scratch z = inner(factors, x), blocks(y.rows, y.cols, y.dtype);
  const Index wide = s.right_blocks * s.num_terms;
  for (Index b = 0; b < s.left_blocks; ++b) {
    gemm(Transpose::no, z.view().block(0, b * wide, x.rows, wide), Transpose::yes, left_block(factors.left, b), 0.0,
         blocks.view().block(0, b * s.left_rows, x.rows, s.left_rows));
  }
  swap_axes({s.left_blocks, s.left_rows, 1}, blocks.view(), y, write == Write::add);
}

void Monarch::do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  const auto factors = factors_as(y.dtype);
  const Scratch blocks = by_blocks(y), z = inner_adjoint(factors, blocks.view());
  finish_adjoint(factors, z.view(), x, write);
}

void Monarch::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients, std::optional<TensorView> dx,
                          Write write) const {
  const auto& s = shape_;
  const auto d_factors = checked(gradients);
  const auto factors = factors_as(x.dtype);
  const Scratch z = inner(factors, x), d_blocks = by_blocks(dy);
  for (Index b = 0; b < s.left_blocks; ++b) {
    const Index wide = s.right_blocks * s.num_terms;
    gemm(Transpose::yes, d_blocks.view().block(0, b * s.left_rows, x.rows, s.left_rows), Transpose::no, z.view().block(0, b * wide, x.rows, wide), 1.0,
         left_block(d_factors.left, b));
  }
  const Scratch dz = inner_adjoint(factors, d_blocks.view());
  for (Index c = 0; c < s.right_blocks; ++c) {
    const Index wide = s.left_blocks * s.num_terms;
    gemm(Transpose::yes, dz.view().block(0, c * wide, x.rows, wide), Transpose::no, x.block(0, c * s.right_cols, x.rows, s.right_cols), 1.0,
         right_block(d_factors.right, c));
  }
  if (dx) finish_adjoint(factors, dz.view(), *dx, write);
}

void Monarch::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  const auto& s = shape_;
  const auto factors = factors_as(out.dtype == DType::f64 ? DType::f64 : DType::f32);
  const auto blocks = by_block(ids, s.left_blocks);
  for (Index b = 0; b < s.left_blocks; ++b) {
    const auto& [places, rows] = blocks[static_cast<std::size_t>(b)];
    const auto count = static_cast<Index>(rows.size());
    if (count == 0) continue;
    const Scratch left(count, factors.left.cols, factors.left.dtype), some(count, out.cols, factors.left.dtype);
    const auto block = left_block(factors.left, b);
    for (Index i = 0; i < count; ++i) convert(block.block(rows[static_cast<std::size_t>(i)], 0, 1, block.cols), left.view().block(i, 0, 1, block.cols));
    for (Index c = 0; c < s.right_blocks; ++c) {
      gemm(Transpose::no, left.view().block(0, c * s.num_terms, count, s.num_terms), Transpose::no,
           right_block(factors.right, c).block(b * s.num_terms, 0, s.num_terms, s.right_cols), 0.0, some.view().block(0, c * s.right_cols, count, s.right_cols));
    }
    for (Index i = 0; i < count; ++i)
      convert(some.view().block(i, 0, 1, out.cols), out.block(static_cast<Index>(places[static_cast<std::size_t>(i)]), 0, 1, out.cols));
  }
}

void Monarch::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const {
  const auto& s = shape_;
  const auto d_factors = checked(gradients);
  const auto factors = factors_as(dy.dtype);
  const auto blocks = by_block(ids, s.left_blocks);
  for (Index b = 0; b < s.left_blocks; ++b) {
    const auto& [places, rows] = blocks[static_cast<std::size_t>(b)];
    const auto count = static_cast<Index>(rows.size());
    if (count == 0) continue;
    const Scratch left(count, factors.left.cols, dy.dtype), d_left(count, factors.left.cols, dy.dtype), d_some(count, dy.cols, dy.dtype);
    const auto block = left_block(factors.left, b);
    for (Index i = 0; i < count; ++i) convert(block.block(rows[static_cast<std::size_t>(i)], 0, 1, block.cols), left.view().block(i, 0, 1, block.cols));
    gather(places, dy, d_some.view());
    for (Index c = 0; c < s.right_blocks; ++c) {
      const ConstTensorView d_out = d_some.view().block(0, c * s.right_cols, count, s.right_cols);
      const Index first = b * s.num_terms;
      gemm(Transpose::yes, left.view().block(0, c * s.num_terms, count, s.num_terms), Transpose::no, d_out, 1.0,
           right_block(d_factors.right, c).block(first, 0, s.num_terms, s.right_cols));
      gemm(Transpose::no, d_out, Transpose::yes, right_block(factors.right, c).block(first, 0, s.num_terms, s.right_cols), 0.0,
           d_left.view().block(0, c * s.num_terms, count, s.num_terms));
    }
    kernels::scatter_add_rows(rows, d_left.view(), left_block(d_factors.left, b));
  }
}

}  // namespace kronlab::decompositions
