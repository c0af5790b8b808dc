#include "decompositions/kronecker_sum.hpp"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {
namespace {

kernels::KroneckerShape shape_of(const Factorization& left, const Tensor& right) {
  const bool is_master = right.dtype() == DType::f32 || right.dtype() == DType::f64;
  KRONLAB_EXPECTS(is_master && right.shape().size() == 3, "right factors are f32 or f64 [terms, m2, n2]");
  const Index terms = right.shape()[0];
  KRONLAB_EXPECTS(terms > 0 && left.cols() % terms == 0, "left factors of {} columns for {} terms", left.cols(), terms);
  return {terms, left.rows(), left.cols() / terms, right.shape()[1], right.shape()[2]};
}

/// Multiply-adds per row of a batch in the product with the left matrix, and beside it.
double left_product(const kernels::KroneckerShape& s, Index rows_in_between) {
  return static_cast<double>(s.num_terms * rows_in_between) * static_cast<double>(s.left_rows * s.left_cols);
}
double right_product(const kernels::KroneckerShape& s, Index left_extent) {
  return static_cast<double>(s.num_terms * left_extent) * static_cast<double>(s.right_rows * s.right_cols);
}

std::span<const TensorView> gradients_of_left(std::span<const TensorView> gradients) {
  KRONLAB_EXPECTS(gradients.size() >= 2, "kronecker sum: {} gradients for left and right factors", gradients.size());
  return gradients.first(gradients.size() - 1);
}

/// Rows (a, u) of W^, by the row u of the B_k that they need: those of u are the places first[u] to first[u + 1] of
/// `order`, which holds where each stands among the ids; left_ids holds a, in the same sequence.
struct RowGroups {
  std::vector<std::size_t> order;
  std::vector<std::int32_t> left_ids;
  std::vector<Index> first;

  RowGroups(std::span<const std::int32_t> ids, Index right_rows)
      : order(ids.size()), left_ids(ids.size()), first(static_cast<std::size_t>(right_rows) + 1) {
    for (const auto id : ids) ++first[static_cast<std::size_t>(id % right_rows + 1)];
    std::partial_sum(first.begin(), first.end(), first.begin());
    auto next = first;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto place = static_cast<std::size_t>(next[static_cast<std::size_t>(ids[i] % right_rows)]++);
      order[place] = i;
      left_ids[place] = static_cast<std::int32_t>(ids[i] / right_rows);
    }
  }

  /// body(u, first place, number of places) for every u that is needed.
  template <class Body>
  void for_each(Body body) const {
    for (std::size_t u = 0; u + 1 < first.size(); ++u) {
      if (first[u + 1] > first[u]) body(static_cast<Index>(u), first[u], first[u + 1] - first[u]);
    }
  }
};

}  // namespace

KroneckerSum::KroneckerSum(std::unique_ptr<Factorization> left, Tensor right)
    : Factorization(left->rows() * right.shape().at(1), left->cols() / right.shape().at(0) * right.shape().at(2)),
      left_(std::move(left)),
      right_(std::move(right)),
      shape_(shape_of(*left_, right_)) {}

FactorizationParts KroneckerSum::parts() const {
  FactorizationParts parts{"kronecker-sum", {}, {}, {}};
  parts.tensors["right"] = as_stored(right_);
  parts.children["left"] = left_->parts();
  return parts;
}

std::unique_ptr<Factorization> KroneckerSum::copy() const {
  return std::make_unique<KroneckerSum>(left_->copy(), right_.clone());
}

std::vector<linalg::Parameter> KroneckerSum::parameters() {
  std::vector<linalg::Parameter> all;
  append_parameters("left", *left_, all);
  all.push_back({"right", &right_});
  return all;
}

double KroneckerSum::cost_right_first(const kernels::KroneckerShape& s) {
  return left_product(s, s.right_rows) + right_product(s, s.left_cols);
}

double KroneckerSum::cost_left_first(const kernels::KroneckerShape& s) {
  return left_product(s, s.right_cols) + right_product(s, s.left_rows);
}

// Another sequence must be worth it: its products have other shapes and more to move beside them.
constexpr double worth_it = 0.8;

bool KroneckerSum::is_left_first() const {
  return has_dense_left() && cost_left_first(shape_) < worth_it * cost_right_first(shape_);
}

void KroneckerSum::do_apply(ConstTensorView x, TensorView y, linalg::Write write) const {
  if (is_left_first()) return apply_left_first(x, y, write);
  const Scratch packed(x.rows * shape_.right_rows, left_->cols(), x.dtype);
  kernels::contract_right(shape_, right_terms(), x, packed.view());
  if (shape_.right_rows == 1) return left_->apply(packed.view(), y, write);
  const Scratch product(x.rows * shape_.right_rows, left_->rows(), y.dtype);
  left_->apply(packed.view(), product.view());
  kernels::interleave(shape_.right_rows, product.view(), y, write == linalg::Write::add);
}

ConstTensorView KroneckerSum::split_rows(ConstTensorView y, Scratch& scratch) const {
  if (shape_.right_rows == 1) return y;
  scratch = Scratch(y.rows * shape_.right_rows, shape_.left_rows, y.dtype);
  kernels::deinterleave(shape_.right_rows, y, scratch.view());
  return scratch.view();
}

void KroneckerSum::do_apply_adjoint(ConstTensorView y, TensorView x, linalg::Write write) const {
  if (is_left_first()) return apply_adjoint_left_first(y, x, write);
  Scratch split;
  const ConstTensorView rows = split_rows(y, split);
  const Scratch packed(rows.rows, left_->cols(), y.dtype);
  left_->apply_adjoint(rows, packed.view());
  kernels::expand_right(shape_, right_terms(), packed.view(), x, write == linalg::Write::add);
}

/// By the way with the fewest multiplications. With the batch much larger than the factors, these count: right first
/// contracts x again, multiplies for A and for x, and contracts and expands; left first multiplies by A again as well;
/// the whole gradient dy^T x needs one product for both factors and the adjoint for x.
void KroneckerSum::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                               std::optional<TensorView> dx, linalg::Write write) const {
  const auto& s = shape_;
  const double right_first = 2 * left_product(s, s.right_rows) + 3 * right_product(s, s.left_cols);
  const double left_first = 3 * left_product(s, s.right_cols) + 2 * right_product(s, s.left_rows);
  const double whole =
      static_cast<double>(rows()) * static_cast<double>(cols()) + std::min(cost_right_first(s), cost_left_first(s));
  const double best = has_dense_left() ? std::min(left_first, whole) : right_first;
  if (best >= worth_it * right_first) return backward_right_first(x, dy, gradients, dx, write);
  left_first < whole ? backward_left_first(x, dy, gradients, dx, write) : backward_whole(x, dy, gradients, dx, write);
}

void KroneckerSum::backward_right_first(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients,
                                        std::optional<TensorView> dx, linalg::Write write) const {
  const auto d_left = gradients_of_left(gradients);
  Scratch split;
  const ConstTensorView rows = split_rows(dy, split);
  const Scratch packed(rows.rows, left_->cols(), x.dtype), d_packed(rows.rows, left_->cols(), x.dtype);
  kernels::contract_right(shape_, right_terms(), x, packed.view());
  left_->backward(packed.view(), rows, d_left, d_packed.view());
  kernels::contract_right_gradient(shape_, x, d_packed.view(), as_terms(shape_, gradients.back()));
  if (dx) kernels::expand_right(shape_, right_terms(), d_packed.view(), *dx, write == linalg::Write::add);
}

/// Row (a, u) of W^ is Σ_k A_k[a, :] ⊗ B_k[u, :]: the expansion of A's row a by the single row u of each B_k.
void KroneckerSum::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  constexpr std::size_t strip = 4096;  // rows, which bounds the scratch where all rows are wanted
  for (std::size_t first = 0; first < ids.size(); first += strip) {
    const auto some = ids.subspan(first, std::min(strip, ids.size() - first));
    gather_strip(some, out.block(static_cast<Index>(first), 0, static_cast<Index>(some.size()), out.cols));
  }
}

void KroneckerSum::gather_strip(std::span<const std::int32_t> ids, TensorView out) const {
  const auto& s = shape_;
  const RowGroups groups(ids, s.right_rows);
  const Scratch left_rows(out.rows, left_->cols(), out.dtype);
  const TensorView factors = left_rows.view();
  left_->gather_rows(groups.left_ids, factors);
  const kernels::KroneckerShape single{s.num_terms, 1, s.left_cols, 1, s.right_cols};
  if (s.right_rows == 1) return kernels::expand_right(single, right_terms(), factors, out, false);
  const Scratch sorted(out.rows, out.cols, out.dtype);
  const TensorView expanded = sorted.view();
  groups.for_each([&](Index u, Index first, Index count) {
    kernels::expand_right(single, right_terms().block(0, u * s.right_cols, s.num_terms, s.right_cols),
                          factors.block(first, 0, count, factors.cols), expanded.block(first, 0, count, out.cols),
                          false);
  });
  for (Index i = 0; i < out.rows; ++i) {
    convert(expanded.block(i, 0, 1, out.cols),
            out.block(static_cast<Index>(groups.order[static_cast<std::size_t>(i)]), 0, 1, out.cols));
  }
}

void KroneckerSum::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy,
                                      std::span<const TensorView> gradients) const {
  const auto& s = shape_;
  const auto d_left = gradients_of_left(gradients);
  const RowGroups groups(ids, s.right_rows);
  const Scratch left_rows(dy.rows, left_->cols(), dy.dtype), d_left_rows(dy.rows, left_->cols(), dy.dtype);
  const TensorView factors = left_rows.view(), d_factors = d_left_rows.view();
  left_->gather_rows(groups.left_ids, factors);
  Scratch sorted;
  ConstTensorView d_rows = dy;
  if (s.right_rows > 1) {
    sorted = Scratch(dy.rows, dy.cols, dy.dtype);
    const TensorView moved = sorted.view();
    for (Index i = 0; i < dy.rows; ++i) {
      convert(dy.block(static_cast<Index>(groups.order[static_cast<std::size_t>(i)]), 0, 1, dy.cols),
              moved.block(i, 0, 1, dy.cols));
    }
    d_rows = moved;
  }
  const TensorView d_right = as_terms(s, gradients.back());
  const kernels::KroneckerShape single{s.num_terms, 1, s.left_cols, 1, s.right_cols};
  groups.for_each([&](Index u, Index first, Index count) {
    const ConstTensorView d_out = d_rows.block(first, 0, count, dy.cols);
    kernels::contract_right_gradient(single, d_out, factors.block(first, 0, count, factors.cols),
                                     d_right.block(0, u * s.right_cols, s.num_terms, s.right_cols));
    kernels::contract_right(single, right_terms().block(0, u * s.right_cols, s.num_terms, s.right_cols), d_out,
                            d_factors.block(first, 0, count, factors.cols));
  });
  left_->backward_gather(groups.left_ids, d_factors, d_left);
}

}  // namespace kronlab::decompositions
