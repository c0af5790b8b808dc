#include "decompositions/kronecker_sum.hpp"

#include <utility>
#include <vector>

#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {
namespace {

kernels::KroneckerShape shape_of(const Factorization& left, const Tensor& right) {
  KRONLAB_EXPECTS(right.dtype() == DType::f32 && right.shape().size() == 3, "right factors are f32 [terms, m2, n2]");
  const Index terms = right.shape()[0];
  KRONLAB_EXPECTS(terms > 0 && left.cols() % terms == 0, "left factors of {} columns for {} terms", left.cols(), terms);
  return {terms, left.rows(), left.cols() / terms, right.shape()[1], right.shape()[2]};
}

}  // namespace

KroneckerSum::KroneckerSum(std::unique_ptr<Factorization> left, Tensor right)
    : Factorization(left->rows() * right.shape().at(1), left->cols() / right.shape().at(0) * right.shape().at(2)),
      left_(std::move(left)),
      right_(std::move(right)),
      shape_(shape_of(*left_, right_)) {}

FactorizationParts KroneckerSum::parts() const {
  FactorizationParts parts{"kronecker-sum", {}, {}, {}};
  parts.tensors["right"] = right_.clone();
  parts.children["left"] = left_->parts();
  return parts;
}

double KroneckerSum::cost_right_first(const kernels::KroneckerShape& s) {
  return static_cast<double>(s.num_terms) * static_cast<double>(s.left_cols * s.right_rows) *
         static_cast<double>(s.right_cols + s.left_rows);
}

double KroneckerSum::cost_left_first(const kernels::KroneckerShape& s) {
  return static_cast<double>(s.num_terms) * static_cast<double>(s.left_rows * s.right_cols) *
         static_cast<double>(s.left_cols + s.right_rows);
}

bool KroneckerSum::is_left_first() const {
  return dynamic_cast<const Dense*>(left_.get()) && cost_left_first(shape_) < 0.8 * cost_right_first(shape_);
}

void KroneckerSum::do_apply(ConstTensorView x, TensorView y, linalg::Write write) const {
  if (is_left_first()) return apply_left_first(x, y, write);
  const TensorView packed = resized(packed_, x.rows * shape_.right_rows, left_->cols(), x.dtype);
  kernels::contract_right(shape_, right_.view(), x, packed);
  if (shape_.right_rows == 1) return left_->apply(packed, y, write);
  const TensorView product = resized(product_, packed.rows, left_->rows(), y.dtype);
  left_->apply(packed, product);
  kernels::interleave(shape_.right_rows, product, y, write == linalg::Write::add);
}

/// w[(t, s), (k, a)] = A_k x[t, :, s] for all k in one product, then B over (k, s): the adjoint contraction with B^T.
void KroneckerSum::apply_left_first(ConstTensorView x, TensorView y, linalg::Write write) const {
  const Tensor& left = static_cast<const Dense&>(*left_).weight();
  const auto& s = shape_;
  const TensorView columns = resized(packed_, x.rows * s.right_cols, s.left_cols, x.dtype);
  kernels::deinterleave(s.right_cols, x, columns);
  const TensorView product = resized(product_, columns.rows, s.num_terms * s.left_rows, y.dtype);
  Tensor converted;
  if (x.dtype != DType::f32) {
    converted = Tensor::uninitialised(x.dtype, left.shape());
    convert(left.view(), converted.view());
  }
  const ConstTensorView factors = x.dtype == DType::f32 ? left.view() : std::as_const(converted).view();
  for (Index k = 0; k < s.num_terms; ++k) {
    linalg::gemm(linalg::Transpose::no, columns, linalg::Transpose::yes,
                 factors.block(0, k * s.left_cols, s.left_rows, s.left_cols), 0.0,
                 product.block(0, k * s.left_rows, columns.rows, s.left_rows));
  }
  Tensor transposed(DType::f32, {s.num_terms, s.right_cols, s.right_rows});
  const auto b = right_.values<float>();
  const auto bt = transposed.values<float>();
  for (Index k = 0; k < s.num_terms; ++k) {
    for (Index u = 0; u < s.right_rows; ++u) {
      for (Index v = 0; v < s.right_cols; ++v) {
        bt[static_cast<std::size_t>((k * s.right_cols + v) * s.right_rows + u)] =
            b[static_cast<std::size_t>((k * s.right_rows + u) * s.right_cols + v)];
      }
    }
  }
  const kernels::KroneckerShape adjoint{s.num_terms, s.left_cols, s.left_rows, s.right_cols, s.right_rows};
  kernels::expand_right(adjoint, transposed.view(), product, y, write == linalg::Write::add);
}

void KroneckerSum::do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const {
  ConstTensorView rows = y;
  if (shape_.right_rows > 1) {
    const TensorView split = resized(product_, y.rows * shape_.right_rows, shape_.left_rows, y.dtype);
    kernels::deinterleave(shape_.right_rows, y, split);
    rows = split;
  }
  const TensorView packed = resized(packed_, rows.rows, left_->cols(), y.dtype);
  left_->apply_adjoint(rows, packed);
  kernels::expand_right(shape_, right_.view(), packed, x, write == linalg::Write::add);
}

/// Row (a, u) of W^ is Σ_k A_k[a, :] ⊗ B_k[u, :]: the expansion of A's row a by the single row u of each B_k.
void KroneckerSum::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  std::vector<std::int32_t> left_ids(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) left_ids[i] = static_cast<std::int32_t>(ids[i] / shape_.right_rows);
  const auto n = static_cast<Index>(ids.size());
  const TensorView factors = resized(packed_, n, left_->cols(), out.dtype);
  left_->gather_rows(left_ids, factors);
  const auto& s = shape_;
  const kernels::KroneckerShape single{s.num_terms, 1, s.left_cols, 1, s.right_cols};
  Tensor row(DType::f32, {s.num_terms, 1, s.right_cols});
  for (Index i = 0; i < n; ++i) {
    const Index u = ids[static_cast<std::size_t>(i)] % s.right_rows;
    for (Index k = 0; k < s.num_terms; ++k) {
      for (Index v = 0; v < s.right_cols; ++v) {
        row.values<float>()[static_cast<std::size_t>(k * s.right_cols + v)] =
            right_.values<float>()[static_cast<std::size_t>((k * s.right_rows + u) * s.right_cols + v)];
      }
    }
    if (s.right_rows == 1) {  // one row of B for all: the whole batch at once
      kernels::expand_right(single, row.view(), factors, out, false);
      return;
    }
    kernels::expand_right(single, row.view(), ConstTensorView(factors).block(i, 0, 1, factors.cols),
                          out.block(i, 0, 1, out.cols), false);
  }
}

}  // namespace kronlab::decompositions
