#include <utility>

#include "decompositions/kronecker_sum.hpp"

// What a sum of Kronecker products does where its left matrix is dense. Left factors first: p[(t, s), (k, a)] =
// A_k x[t, :, s] for all k in one product, then y[t, (a, u)] = Σ_ks B_k[u, s] p[(t, s), (k, a)], which is expand_right
// with B^T in the shape of W^T.

namespace kronlab::decompositions {
namespace {

using linalg::Transpose;

kernels::KroneckerShape adjoint_of(const kernels::KroneckerShape& s) {
  return {s.num_terms, s.left_cols, s.left_rows, s.right_cols, s.right_rows};
}

/// to[k, (s, u)] (+)= from[k, (u, s)].  from: [num_terms, rows cols]
void transpose_terms(ConstTensorView from, Index rows, Index cols, TensorView to, bool add) {
  const auto values = to_matrix<double>(from);
  auto moved = add ? to_matrix<double>(to) : Matrix<double>(to.rows, to.cols);
  for (Index k = 0; k < from.rows; ++k) {
    for (Index u = 0; u < rows; ++u) {
      for (Index s = 0; s < cols; ++s) moved(k, s * rows + u) += values(k, u * cols + s);
    }
  }
  convert(moved.view(), to);
}

void expect_two(std::span<const TensorView> gradients) {
  KRONLAB_EXPECTS(gradients.size() == 2, "kronecker sum: {} gradients for left and right factors", gradients.size());
}

}  // namespace

/// [A_1; ...; A_r]: [num_terms m1, n1].
Tensor KroneckerSum::stacked_left(DType dtype) const {
  const auto& s = shape_;
  const auto weight = static_cast<const Dense&>(*left_).weight().view();
  Tensor stacked = Tensor::uninitialised(dtype, {s.num_terms * s.left_rows, s.left_cols});
  for (Index k = 0; k < s.num_terms; ++k) {
    convert(weight.block(0, k * s.left_cols, s.left_rows, s.left_cols),
            stacked.view().block(k * s.left_rows, 0, s.left_rows, s.left_cols));
  }
  return stacked;
}

/// B_k^T: [num_terms, n2 m2].
Tensor KroneckerSum::transposed_right() const {
  Tensor transposed(right_.dtype(), {shape_.num_terms, shape_.right_cols * shape_.right_rows});
  transpose_terms(right_terms(), shape_.right_rows, shape_.right_cols, transposed.view(), false);
  return transposed;
}

/// x[t, :, s] as rows (t, s).
ConstTensorView KroneckerSum::split_columns(ConstTensorView x, Scratch& scratch) const {
  if (shape_.right_cols == 1) return x;
  scratch = Scratch(x.rows * shape_.right_cols, shape_.left_cols, x.dtype);
  kernels::deinterleave(shape_.right_cols, x, scratch.view());
  return scratch.view();
}

void KroneckerSum::apply_left_first(ConstTensorView x, TensorView y, linalg::Write write) const {
  Scratch split;
  const ConstTensorView columns = split_columns(x, split);
  const Tensor left = stacked_left(x.dtype), right = transposed_right();
  const Scratch product(columns.rows, left.rows(), y.dtype);
  linalg::gemm(Transpose::no, columns, Transpose::yes, left.view(), 0.0, product.view());
  kernels::expand_right(adjoint_of(shape_), right.view(), product.view(), y, write == linalg::Write::add);
}

void KroneckerSum::apply_adjoint_left_first(ConstTensorView y, TensorView x, linalg::Write write) const {
  const Tensor right = transposed_right();
  const Scratch product(y.rows * shape_.right_cols, shape_.num_terms * shape_.left_rows, y.dtype);
  kernels::contract_right(adjoint_of(shape_), right.view(), y, product.view());
  join_columns(product.view(), stacked_left(y.dtype), x, write);
}

/// x (+)= Σ_k p[(t, s), (k, :)] A_k.
void KroneckerSum::join_columns(ConstTensorView product, const Tensor& left, TensorView x, linalg::Write write) const {
  const bool add = write == linalg::Write::add;
  if (shape_.right_cols == 1)
    return linalg::gemm(Transpose::no, product, Transpose::no, left.view(), add ? 1.0 : 0.0, x);
  const Scratch columns(product.rows, shape_.left_cols, product.dtype);
  linalg::gemm(Transpose::no, product, Transpose::no, left.view(), 0.0, columns.view());
  kernels::interleave(shape_.right_cols, columns.view(), x, add);
}

void KroneckerSum::backward_left_first(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                                       std::optional<TensorView> dx, linalg::Write write) const {
  expect_two(gradients);
  const auto adjoint = adjoint_of(shape_);
  const auto& [num_terms, m1, n1, m2, n2] = shape_;
  Scratch split;
  const ConstTensorView columns = split_columns(x, split);
  const Tensor left = stacked_left(x.dtype), right = transposed_right();
  const Scratch scratch(columns.rows, left.rows(), x.dtype);
  const TensorView product = scratch.view();
  linalg::gemm(Transpose::no, columns, Transpose::yes, left.view(), 0.0, product);
  const TensorView d_right = as_terms(shape_, gradients[1]);
  Tensor d_transposed(d_right.dtype, {num_terms, n2 * m2});
  kernels::contract_right_gradient(adjoint, dy, product, d_transposed.view());
  transpose_terms(std::as_const(d_transposed).view(), n2, m2, d_right, true);

  const TensorView d_product = product;
  kernels::contract_right(adjoint, right.view(), dy, d_product);
  for (Index k = 0; k < num_terms; ++k) {
    linalg::gemm(Transpose::yes, d_product.block(0, k * m1, columns.rows, m1), Transpose::no, columns, 1.0,
                 gradients[0].block(0, k * n1, m1, n1));
  }
  if (dx) join_columns(d_product, left, *dx, write);
}

/// With G = dy^T x: dA_k = Σ_us B_k[u, s] G[(:, u), (:, s)] and dB_k[u, s] = <A_k, G[(:, u), (:, s)]>.
void KroneckerSum::backward_whole(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                                  std::optional<TensorView> dx, linalg::Write write) const {
  expect_two(gradients);
  const auto& [num_terms, m1, n1, m2, n2] = shape_;
  const Scratch whole(rows(), cols(), gradients[0].dtype);
  linalg::gemm(Transpose::yes, dy, Transpose::no, x, 0.0, whole.view());
  Scratch converted;
  ConstTensorView left = static_cast<const Dense&>(*left_).weight().view();
  if (left.dtype != gradients[0].dtype) {
    converted = Scratch(left.rows, left.cols, gradients[0].dtype);
    convert(left, converted.view());
    left = converted.view();
  }
  const kernels::KroneckerShape single{num_terms, 1, n1, 1, n2};
  const TensorView d_right = as_terms(shape_, gradients[1]);
  for (Index u = 0; u < m2; ++u) {
    ConstTensorView of_u = whole.view().block(u, 0, 1, cols());  // rows (a, u) for all a
    of_u.rows = m1, of_u.stride *= m2;
    kernels::contract_right(single, right_terms().block(0, u * n2, num_terms, n2), of_u, gradients[0], true);
    kernels::contract_right_gradient(single, of_u, left, d_right.block(0, u * n2, num_terms, n2));
  }
  if (dx) apply_adjoint(dy, *dx, write);
}

}  // namespace kronlab::decompositions
