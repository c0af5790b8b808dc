#include "decompositions/mpo_contraction.hpp"

#include <algorithm>
#include <utility>

#include "framework/kernels/tensor_axes.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::decompositions {
namespace {

using kernels::AxisExtents;
using kernels::swap_axes;
using linalg::gemm;
using linalg::Transpose;
using linalg::Write;

DType accumulator_of(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

template <class View>
bool is_contiguous(const View& view) {
  return view.stride == view.cols || view.rows <= 1;
}

/// The same elements as rows of another length. @pre contiguous, or the shape stays
template <class View>
View reshaped(View view, Index rows, Index cols) {
  if (view.rows == rows && view.cols == cols) return view;
  KRONLAB_EXPECTS(is_contiguous(view) && view.rows * view.cols == rows * cols, "[{}, {}], rows {} apart, as [{}, {}]", view.rows,
                  view.cols, view.stride, rows, cols);
  view.rows = rows, view.cols = view.stride = cols;
  return view;
}

Tensor converted(const Tensor& from, DType dtype) {
  Tensor to = Tensor::uninitialised(dtype, from.shape());
  convert(from.view(), to.view());
  return to;
}

Tensor empty_core(DType dtype, const CoreShape& s) { return Tensor::uninitialised(dtype, {s.left, s.rows, s.cols, s.right}); }

CoreShape merged_shape(const CoreShape& a, const CoreShape& b) { return {a.left, a.rows * b.rows, a.cols * b.cols, b.right}; }

/// [(a, I, J), b] times [b, (i, j, c)] has axes (a, I, J, i, j, c): J and i change places. rows: a I
AxisExtents between(const CoreShape& before, const CoreShape& core) { return {before.cols, core.rows, core.cols * core.right}; }

/// The core that two neighbours make.
Tensor merge(const Tensor& before, const CoreShape& before_shape, const Tensor& core, const CoreShape& core_shape) {
  const auto& a = before_shape;
  const auto& b = core_shape;
  const DType dtype = before.dtype();
  const Index rows = a.left * a.rows * a.cols, cols = b.rows * b.cols * b.right;
  Tensor product = Tensor::uninitialised(dtype, {rows, cols}), result = empty_core(dtype, merged_shape(a, b));
  gemm(Transpose::no, before.view(), Transpose::no, reshaped(core.view(), b.left, cols), 0.0, product.view());
  const Index outer = a.left * a.rows;
  swap_axes(between(a, b), reshaped(std::as_const(product).view(), outer, a.cols * cols), reshaped(result.view(), outer, a.cols * cols));
  return result;
}

/// Cores [begin, end) merged from the left: what they make after each of them.
struct Merged {
  std::vector<CoreShape> shapes;
  std::vector<Tensor> values;
};

Merged merged(std::span<const CoreShape> shapes, std::span<const Tensor> cores, std::size_t begin, std::size_t end, DType dtype) {
  Merged result;
  for (std::size_t k = begin; k < end; ++k) {
    Tensor core = converted(cores[k], dtype);
    if (k == begin) {
      result.shapes.push_back(shapes[k]);
      result.values.push_back(std::move(core));
      continue;
    }
    Tensor next = merge(result.values.back(), result.shapes.back(), core, shapes[k]);
    result.shapes.push_back(merged_shape(result.shapes.back(), shapes[k]));
    result.values.push_back(std::move(next));
  }
  return result;
}

/// Axes of a core [a, I, J, b] that change places so that it is [(J, a), (I, b)], contracted from the left, or
/// [(I, a), (J, b)], from the right.
AxisExtents layout(const CoreShape& s, bool from_left) {
  return from_left ? AxisExtents{s.left * s.rows, s.cols, s.right} : AxisExtents{s.left, s.rows, s.cols * s.right};
}

AxisExtents swapped(const AxisExtents& e) { return {e.inner, e.outer, e.run}; }

bool is_identity(const AxisExtents& e) { return e.outer == 1 || e.inner == 1; }

}  // namespace

Contraction::Contraction(const ContractionPlan& plan, std::span<const CoreShape> shapes, std::span<const Tensor> cores, DType dtype)
    : plan_(plan), shapes_(shapes.begin(), shapes.end()), dtype_(dtype) {
  Index produced = 1, contracted = 1;
  for (const auto& shape : shapes) contracted *= is_from_left() ? shape.cols : shape.rows;
  for (std::size_t g = 0; g < plan.num_groups(); ++g) {
    const auto group = merged(shapes, cores, plan.first[g], plan.first[g + 1], accumulator_of(dtype));
    const auto& s = group.shapes.back();
    Step step{is_from_left() ? s.cols : s.rows, is_from_left() ? s.rows : s.cols, s.left, s.right, 1, {}};
    contracted /= step.contracted;
    step.others = contracted * produced;
    produced *= step.produced;
    Tensor laid_out = Tensor::uninitialised(accumulator_of(dtype), {step.contracted * s.left, step.produced * s.right});
    swap_axes(layout(s, is_from_left()), reshaped(group.values.back().view(), 1, s.size()), reshaped(laid_out.view(), 1, s.size()));
    step.matrix = dtype == laid_out.dtype() ? std::move(laid_out) : converted(laid_out, dtype);
    steps_.push_back(std::move(step));
  }
}

Index Contraction::strip_rows() const {
  constexpr Index num_elements = Index{1} << 20;  // of the widest matrix between two products
  Index widest = 1;
  for (const auto& s : steps_) widest = std::max({widest, s.others * s.contracted * s.left, s.others * s.produced * s.right});
  return std::max<Index>(16, num_elements / widest);
}

void Contraction::run_forward(ConstTensorView in, std::optional<TensorView> out, Write write, Kept* kept) const {
  const Index n = in.rows;
  Scratch product;
  ConstTensorView state = in;
  for (std::size_t g = 0; g < steps_.size(); ++g) {
    const auto& s = steps_[g];
    const AxisExtents axes{s.contracted, s.others, s.left};
    const Index wide = s.contracted * s.left;
    state = reshaped(state, n, axes.size());
    Scratch packed;
    if (!is_identity(axes) || !(is_contiguous(state) || s.others == 1)) {
      packed = Scratch(n * s.others, wide, dtype_);
      swap_axes(axes, state, reshaped(packed.view(), n, axes.size()));
      state = packed.view();
    }
    state = reshaped(state, n * s.others, wide);
    if (kept) {
      kept->factors.push_back(state);
      kept->memory.push_back(std::move(packed));
      kept->memory.push_back(std::move(product));
    }
    const bool is_last = g + 1 == steps_.size();
    if (is_last && !out) return;
    if (is_last && (is_contiguous(*out) || s.others == 1)) {
      return gemm(Transpose::no, state, Transpose::no, s.matrix.view(), write == Write::add ? 1.0 : 0.0,
                  reshaped(*out, n * s.others, s.produced));
    }
    Scratch next(n * s.others, s.produced * s.right, is_last ? out->dtype : dtype_);
    gemm(Transpose::no, state, Transpose::no, s.matrix.view(), 0.0, next.view());
    product = std::move(next);
    state = product.view();
  }
  swap_axes({1, 1, out->cols}, reshaped(state, n, out->cols), *out, write == Write::add);
}

void Contraction::run_reverse(ConstTensorView in, std::optional<TensorView> out, Write write, const Kept* kept, std::span<Tensor> sums) const {
  const Index n = in.rows;
  Scratch holder;
  ConstTensorView state = in;
  if (!is_contiguous(in) && steps_.back().others > 1) {
    holder = Scratch(n, in.cols, dtype_);
    swap_axes({1, 1, in.cols}, in, holder.view());
    state = holder.view();
  }
  for (std::size_t g = steps_.size(); g-- > 0;) {
    const auto& s = steps_[g];
    const AxisExtents axes{s.others, s.contracted, s.left};
    const Index wide = s.contracted * s.left;
    state = reshaped(state, n * s.others, s.produced * s.right);
    if (kept) gemm(Transpose::yes, kept->factors[g], Transpose::no, state, 1.0, sums[g].view());
    const bool is_last = g == 0;
    if (is_last && !out) return;
    const DType type = is_last ? out->dtype : dtype_;
    if (is_last && is_identity(axes) && (is_contiguous(*out) || s.others == 1)) {
      return gemm(Transpose::no, state, Transpose::yes, s.matrix.view(), write == Write::add ? 1.0 : 0.0,
                  reshaped(*out, n * s.others, wide));
    }
    Scratch product(n * s.others, wide, type);
    gemm(Transpose::no, state, Transpose::yes, s.matrix.view(), 0.0, product.view());
    if (is_last) return swap_axes(axes, reshaped(product.view(), n, axes.size()), *out, write == Write::add);
    if (!is_identity(axes)) {
      Scratch moved(n, axes.size(), type);
      swap_axes(axes, reshaped(product.view(), n, axes.size()), moved.view());
      product = std::move(moved);
    }
    holder = std::move(product);
    state = holder.view();
  }
}

void Contraction::apply(ConstTensorView x, TensorView y, Write write) const {
  is_from_left() ? run_forward(x, y, write, nullptr) : run_reverse(x, y, write, nullptr, {});
}

void Contraction::apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  is_from_left() ? run_reverse(y, x, write, nullptr, {}) : run_forward(y, x, write, nullptr);
}

void Contraction::backward(ConstTensorView x, ConstTensorView dy, std::span<Tensor> sums, std::optional<TensorView> dx,
                           Write write) const {
  Kept kept;
  if (is_from_left()) {
    run_forward(x, std::nullopt, Write::replace, &kept);
    run_reverse(dy, dx, write, &kept, sums);
  } else {
    run_forward(dy, dx, write, &kept);
    run_reverse(x, std::nullopt, Write::replace, &kept, sums);
  }
}

std::vector<Tensor> Contraction::zero_sums() const {
  std::vector<Tensor> sums;
  for (const auto& s : steps_) sums.emplace_back(accumulator_of(dtype_), s.matrix.shape());
  return sums;
}

void Contraction::add_gradients(std::span<const Tensor> sums, std::span<const Tensor> cores, std::span<const TensorView> gradients) const {
  const DType type = accumulator_of(dtype_);
  for (std::size_t g = 0; g < steps_.size(); ++g) {
    const std::size_t begin = plan_.first[g], end = plan_.first[g + 1];
    const auto group = merged(shapes_, cores, begin, std::max(begin + 1, end - 1), type);  // all but the last merged
    const CoreShape whole = end - begin > 1 ? merged_shape(group.shapes.back(), shapes_[end - 1]) : shapes_[begin];
    Tensor d_group = empty_core(type, whole);
    swap_axes(swapped(layout(whole, is_from_left())), reshaped(sums[g].view(), 1, whole.size()), reshaped(d_group.view(), 1, whole.size()));
    for (std::size_t k = end; --k > begin;) {
      const auto& before = group.shapes[k - begin - 1];
      const auto& b = shapes_[k];
      const Index rows = before.left * before.rows * before.cols, cols = b.rows * b.cols * b.right, outer = before.left * before.rows;
      Tensor d_product = Tensor::uninitialised(type, {rows, cols}), d_before = empty_core(type, before);
      swap_axes(swapped(between(before, b)), reshaped(std::as_const(d_group).view(), outer, before.cols * cols),
                reshaped(d_product.view(), outer, before.cols * cols));
      const Tensor core = converted(cores[k], type);
      const ConstTensorView d_rows = std::as_const(d_product).view();
      gemm(Transpose::yes, group.values[k - begin - 1].view(), Transpose::no, d_rows, 1.0, reshaped(gradients[k], b.left, cols));
      gemm(Transpose::no, d_rows, Transpose::yes, reshaped(core.view(), b.left, cols), 0.0, d_before.view());
      d_group = std::move(d_before);
    }
    const Index size = shapes_[begin].size();
    swap_axes({1, 1, size}, reshaped(std::as_const(d_group).view(), 1, size), reshaped(gradients[begin], 1, size), true);
  }
}

}  // namespace kronlab::decompositions
