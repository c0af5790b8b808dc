#include "decompositions/mpo.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "decompositions/mpo_rows.hpp"
#include "framework/kernels/tensor_axes.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Write;

std::vector<CoreShape> shapes_of(const std::vector<Tensor>& cores) {
  std::vector<CoreShape> shapes;
  Index bond = 1;
  for (std::size_t k = 0; k < cores.size(); ++k) {
    const auto& extents = cores[k].shape();
    const bool is_master = cores[k].dtype() == DType::f32 || cores[k].dtype() == DType::f64;
    if (extents.size() != 4 || !is_master || cores[k].is_empty() || cores[k].dtype() != cores[0].dtype())
      throw DataError(fmt::format("mpo: {} is no array of floats with four extents, as the others", Mpo::core_name(k)));
    const CoreShape shape{extents[0], extents[1], extents[2], extents[3]};
    if (shape.left != bond) throw DataError(fmt::format("mpo: {} has {} on its left, expected {}", Mpo::core_name(k), shape.left, bond));
    bond = shape.right;
    shapes.push_back(shape);
  }
  if (shapes.empty()) throw DataError("mpo: no cores");
  if (bond != 1) throw DataError(fmt::format("mpo: the last core has {} on its right, expected 1", bond));
  return shapes;
}

Index product(const std::vector<CoreShape>& shapes, Index CoreShape::*extent) {
  Index result = 1;
  for (const auto& shape : shapes) result = checked_product(result, shape.*extent, "mpo");
  return result;
}

/// The columns of a matrix-product operator.
Index cols_of(const std::vector<Tensor>& cores) { return product(shapes_of(cores), &CoreShape::cols); }

/// body(first, number) for strips of the rows of a batch.
template <class Body>
void for_strips(Index rows, Index strip, Body body) {
  for (Index first = 0; first < rows; first += strip) body(first, std::min(strip, rows - first));
}

}  // namespace

Mpo::Mpo(std::vector<Tensor> cores, Index rows)
    : Factorization(rows, cols_of(cores)), cores_(std::move(cores)), shapes_(shapes_of(cores_)) {
  if (rows > padded_rows()) throw DataError(fmt::format("mpo: {} rows of an operator with {}", rows, padded_rows()));
  for (const Pass pass : {Pass::apply, Pass::backward}) plans_[static_cast<std::size_t>(pass)] = cheapest_plan(shapes_, pass);
}

Index Mpo::padded_rows() const { return product(shapes_, &CoreShape::rows); }

Index Mpo::num_parameters() const {
  Index sum = 0;
  for (const auto& shape : shapes_) sum += shape.size();
  return sum;
}

FactorizationParts Mpo::parts() const {
  FactorizationParts parts{"mpo", {{"rows", rows()}}, {}, {}};
  for (std::size_t k = 0; k < cores_.size(); ++k) parts.tensors[core_name(k)] = as_stored(cores_[k]);
  return parts;
}

std::unique_ptr<Factorization> Mpo::copy() const {
  std::vector<Tensor> cores;
  for (const auto& core : cores_) cores.push_back(core.clone());
  return std::make_unique<Mpo>(std::move(cores), rows());
}

std::vector<linalg::Parameter> Mpo::parameters() {
  std::vector<linalg::Parameter> all;
  for (std::size_t k = 0; k < cores_.size(); ++k) all.push_back({core_name(k), &cores_[k]});
  return all;
}

void Mpo::parameters_changed() {
  contractions_.clear();
  converted_.clear();
}

const Contraction& Mpo::contraction(Pass pass, DType dtype) const {
  const auto& wanted = plan(pass);
  for (const auto& [made_for, made] : contractions_) {
    const bool is_same = made_for == pass || (made.plan().direction == wanted.direction && made.plan().first == wanted.first);
    if (is_same && made.dtype() == dtype) return made;
  }
  return contractions_.emplace_back(pass, Contraction(wanted, shapes_, cores_, dtype)).second;
}

std::vector<ConstTensorView> Mpo::cores_as(DType dtype) const {
  if (dtype != cores_[0].dtype() && (converted_.empty() || converted_[0].dtype() != dtype)) {
    converted_.clear();
    for (const auto& core : cores_) {
      converted_.push_back(Tensor::uninitialised(dtype, core.shape()));
      convert(core.view(), converted_.back().view());
    }
  }
  std::vector<ConstTensorView> views;
  for (std::size_t k = 0; k < cores_.size(); ++k) {
    ConstTensorView view = dtype == cores_[0].dtype() ? std::as_const(cores_[k]).view() : std::as_const(converted_[k]).view();
    view.rows = shapes_[k].left, view.cols = view.stride = shapes_[k].size() / shapes_[k].left;
    views.push_back(view);
  }
  return views;
}

ConstTensorView Mpo::padded(ConstTensorView y, Scratch& memory) const {
  if (rows() == padded_rows()) return y;
  memory = Scratch(y.rows, padded_rows(), y.dtype);
  const TensorView view = memory.view();
  convert(y, view.block(0, 0, y.rows, rows()));
  fill_zero(view.block(0, rows(), y.rows, padded_rows() - rows()));
  return view;
}

void Mpo::do_apply(ConstTensorView x, TensorView y, Write write) const {
  const auto& chain = contraction(Pass::apply, x.dtype);
  for_strips(x.rows, chain.strip_rows(), [&](Index first, Index count) {
    const auto in = x.block(first, 0, count, x.cols);
    const auto out = y.block(first, 0, count, y.cols);
    if (rows() == padded_rows()) return chain.apply(in, out, write);
    const Scratch all(count, padded_rows(), y.dtype);
    chain.apply(in, all.view(), Write::replace);
    kernels::swap_axes({1, 1, rows()}, all.view().block(0, 0, count, rows()), out, write == Write::add);
  });
}

void Mpo::do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  const auto& chain = contraction(Pass::apply, y.dtype);
  for_strips(y.rows, chain.strip_rows(), [&](Index first, Index count) {
    Scratch memory;
    chain.apply_adjoint(padded(y.block(first, 0, count, y.cols), memory), x.block(first, 0, count, x.cols), write);
  });
}

void Mpo::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients, std::optional<TensorView> dx,
                      Write write) const {
  expect_gradients(gradients);
  const auto& chain = contraction(Pass::backward, x.dtype);
  auto sums = chain.zero_sums();
  for_strips(x.rows, chain.strip_rows(), [&](Index first, Index count) {
    Scratch memory;
    std::optional<TensorView> d_in;
    if (dx) d_in = dx->block(first, 0, count, dx->cols);
    chain.backward(x.block(first, 0, count, x.cols), padded(dy.block(first, 0, count, dy.cols), memory), sums, d_in, write);
  });
  chain.add_gradients(sums, cores_, gradients);
}

void Mpo::expect_gradients(std::span<const TensorView> gradients) const {
  KRONLAB_EXPECTS(gradients.size() == shapes_.size(), "mpo: {} gradients for {} cores", gradients.size(), shapes_.size());
  for (std::size_t k = 0; k < shapes_.size(); ++k) {
    const auto& [left, rows, cols, right] = shapes_[k];
    const auto& gradient = gradients[k];
    KRONLAB_EXPECTS(gradient.rows == left * rows * cols && gradient.cols == right && gradient.stride == right,
                    "mpo: the gradient of {} ({} x {} x {} x {}) is [{}, {}], rows {} apart", core_name(k), left, rows, cols, right,
                    gradient.rows, gradient.cols, gradient.stride);
  }
}

void Mpo::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  const DType type = out.dtype == DType::f64 ? DType::f64 : DType::f32;
  gather_mpo_rows(shapes_, cores_as(type), ids, out);
}

void Mpo::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const {
  expect_gradients(gradients);
  add_mpo_row_gradients(shapes_, cores_as(dy.dtype), ids, dy, gradients);
}

}  // namespace kronlab::decompositions
