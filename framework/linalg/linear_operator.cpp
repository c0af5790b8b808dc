#include "framework/linalg/linear_operator.hpp"

#include <numeric>
#include <utility>
#include <vector>

#include "framework/kernels/elementwise_backward.hpp"

namespace kronlab::linalg {
namespace {

void expect_types(ConstTensorView from, ConstTensorView to) {
  const bool same = from.dtype == to.dtype && (from.dtype == DType::f32 || from.dtype == DType::f64 || from.dtype == DType::bf16);
  const bool widening = from.dtype == DType::bf16 && to.dtype == DType::f32;
  KRONLAB_EXPECTS(same || widening, "no application from {} to {}", to_string(from.dtype), to_string(to.dtype));
}

void expect_gradient_of(const DenseOperator& weight, std::span<const TensorView> gradients) {
  KRONLAB_EXPECTS(gradients.size() == 1 && gradients[0].rows == weight.rows() && gradients[0].cols == weight.cols(),
                  "{} gradients for one weight [{}, {}], or of another shape", gradients.size(), weight.rows(), weight.cols());
}

}  // namespace

LinearOperator::LinearOperator(Index rows, Index cols) : rows_(rows), cols_(cols) {
  KRONLAB_EXPECTS(rows > 0 && cols > 0, "a linear operator of {} x {}", rows, cols);
}

void LinearOperator::apply(ConstTensorView x, TensorView y, Write write) const {
  KRONLAB_EXPECTS(x.cols == cols_ && y.cols == rows_ && x.rows == y.rows, "apply [{}, {}]: x is [{}, {}], y is [{}, {}]",
                  rows_, cols_, x.rows, x.cols, y.rows, y.cols);
  expect_types(x, y);
  if (x.rows > 0) do_apply(x, y, write);
}

void LinearOperator::apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  KRONLAB_EXPECTS(x.cols == cols_ && y.cols == rows_ && x.rows == y.rows,
                  "apply_adjoint [{}, {}]: y is [{}, {}], x is [{}, {}]", rows_, cols_, y.rows, y.cols, x.rows, x.cols);
  expect_types(y, x);
  if (y.rows > 0) do_apply_adjoint(y, x, write);
}

void LinearOperator::apply_slice(ConstTensorView x, Index first_row, TensorView y) const {
  KRONLAB_EXPECTS(has_slices(), "this operator has no slices");
  KRONLAB_EXPECTS(x.cols == cols_ && x.rows == y.rows && first_row >= 0 && first_row + y.cols <= rows_,
                  "apply_slice [{}, {}] from row {}: x is [{}, {}], y is [{}, {}]", rows_, cols_, first_row, x.rows,
                  x.cols, y.rows, y.cols);
  expect_types(x, y);
  do_apply_slice(x, first_row, y);
}

void LinearOperator::gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  KRONLAB_EXPECTS(out.rows == static_cast<Index>(ids.size()) && out.cols == cols_, "gather of {} rows of {} into [{}, {}]",
                  ids.size(), cols_, out.rows, out.cols);
  for (const auto id : ids) KRONLAB_EXPECTS(id >= 0 && id < rows_, "row {} of an operator with {} rows", id, rows_);
  do_gather_rows(ids, out);
}

Tensor LinearOperator::do_to_dense() const {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(rows_));
  std::iota(ids.begin(), ids.end(), 0);
  Tensor dense = Tensor::uninitialised(DType::f32, {rows_, cols_});
  do_gather_rows(ids, dense.view());
  return dense;
}

void LinearOperator::do_apply_slice(ConstTensorView, Index, TensorView) const {
  KRONLAB_EXPECTS(false, "this operator has no slices");
}

void Trainable::backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                         std::optional<TensorView> dx, Write write) const {
  KRONLAB_EXPECTS(x.cols == cols() && dy.cols == rows() && x.rows == dy.rows && x.dtype == dy.dtype,
                  "backward [{}, {}]: x is {} [{}, {}], dy is {} [{}, {}]", rows(), cols(), to_string(x.dtype), x.rows, x.cols,
                  to_string(dy.dtype), dy.rows, dy.cols);
  if (dx) {
    KRONLAB_EXPECTS(dx->rows == x.rows && dx->cols == x.cols, "backward of x [{}, {}] into [{}, {}]", x.rows, x.cols, dx->rows, dx->cols);
    expect_types(dy, *dx);
  }
  if (gradients.empty()) {
    if (dx) apply_adjoint(dy, *dx, write);
    return;
  }
  if (x.rows > 0) do_backward(x, dy, gradients, dx, write);
}

void Trainable::backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const {
  KRONLAB_EXPECTS(dy.rows == static_cast<Index>(ids.size()) && dy.cols == cols(), "backward of a gather of {} rows of {}: dy is [{}, {}]",
                  ids.size(), cols(), dy.rows, dy.cols);
  for (const auto id : ids) KRONLAB_EXPECTS(id >= 0 && id < rows(), "row {} of an operator with {} rows", id, rows());
  if (!ids.empty() && !gradients.empty()) do_backward_gather(ids, dy, gradients);
}

DenseOperator::DenseOperator(Tensor weight) : Trainable(weight.rows(), weight.cols()), weight_(std::move(weight)) {
  const bool is_master = weight_.dtype() == DType::f32 || weight_.dtype() == DType::f64;
  KRONLAB_EXPECTS(is_master && weight_.shape().size() == 2, "a dense weight is f32 or f64 and has two extents");
}

DenseOperator::DenseOperator(Index rows, Index cols, std::function<Tensor()> read) : Trainable(rows, cols), read_(std::move(read)) {}

const Tensor& DenseOperator::weight() const {
  if (weight_.is_empty()) {
    weight_ = read_();
    KRONLAB_EXPECTS(weight_.rows() == rows() && weight_.cols() == cols(), "a weight of [{}, {}] was read as [{}, {}]", rows(), cols(),
                    weight_.rows(), weight_.cols());
  }
  return weight_;
}

std::vector<Parameter> DenseOperator::parameters() {
  weight();
  return {{"weight", &weight_}};
}

ConstTensorView DenseOperator::weight_as(DType dtype) const {
  const Tensor& master = weight();
  if (dtype == master.dtype()) return master.view();
  if (converted_.is_empty() || converted_.dtype() != dtype) {
    converted_ = Tensor::uninitialised(dtype, master.shape());
    convert(master.view(), converted_.view());
  }
  return std::as_const(converted_).view();
}

void DenseOperator::do_apply(ConstTensorView x, TensorView y, Write write) const {
  gemm(Transpose::no, x, Transpose::yes, weight_as(x.dtype), write == Write::add ? 1.0 : 0.0, y);
}

void DenseOperator::do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  gemm(Transpose::no, y, Transpose::no, weight_as(y.dtype), write == Write::add ? 1.0 : 0.0, x);
}

void DenseOperator::do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const {
  gemm(Transpose::no, x, Transpose::yes, weight_as(x.dtype).block(first_row, 0, y.cols, cols()), 0.0, y);
}

void DenseOperator::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  const ConstTensorView all = weight().view();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    convert(all.block(ids[i], 0, 1, cols()), out.block(static_cast<Index>(i), 0, 1, cols()));
  }
}

/// Keeps nothing of a weight that was not needed before: who decomposes a large model's layers holds one at a time.
Tensor DenseOperator::do_to_dense() const {
  if (weight_.is_empty()) {
    if (Tensor weight = read_(); weight.dtype() == DType::f32) return weight;
  }
  Tensor dense = Tensor::uninitialised(DType::f32, {rows(), cols()});
  convert(weight().view(), dense.view());
  return dense;
}

void DenseOperator::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                                std::optional<TensorView> dx, Write write) const {
  expect_gradient_of(*this, gradients);
  gemm(Transpose::yes, dy, Transpose::no, x, 1.0, gradients[0]);
  if (dx) do_apply_adjoint(dy, *dx, write);
}

void DenseOperator::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const {
  expect_gradient_of(*this, gradients);
  kernels::scatter_add_rows(ids, dy, gradients[0]);
}

}  // namespace kronlab::linalg
