#include "decompositions/token_trains.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "framework/linalg/gemm.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::gemm;
using linalg::Transpose;
using linalg::Write;

kernels::RowTrainShape shape_of(const std::vector<Tensor>& cores) {
  kernels::RowTrainShape shape;
  for (std::size_t k = 0; k < cores.size(); ++k) {
    const auto& extents = cores[k].shape();
    const bool is_master = cores[k].dtype() == DType::f32 || cores[k].dtype() == DType::f64;
    if (extents.size() != 4 || !is_master || cores[k].is_empty() || cores[k].dtype() != cores[0].dtype())
      throw DataError(fmt::format("token trains: {} is no array of floats with four extents, as the others", TokenTrains::core_name(k)));
    if (extents[0] != cores[0].shape()[0])
      throw DataError(fmt::format("token trains: {} has {} rows, expected {}", TokenTrains::core_name(k), extents[0], cores[0].shape()[0]));
    const Index bond = shape.bonds.empty() ? 1 : shape.bonds.back();
    if (extents[1] != bond) throw DataError(fmt::format("token trains: {} has {} on its left, expected {}", TokenTrains::core_name(k), extents[1], bond));
    if (shape.bonds.empty()) shape.bonds.push_back(1);
    shape.extents.push_back(extents[2]);
    shape.bonds.push_back(extents[3]);
  }
  if (cores.empty()) throw DataError("token trains: no cores");
  if (shape.bonds.back() != 1) throw DataError(fmt::format("token trains: the last core has {} on its right, expected 1", shape.bonds.back()));
  return shape;
}

}  // namespace

TokenTrains::TokenTrains(std::vector<Tensor> cores)
    : Factorization(cores.empty() || cores[0].shape().empty() ? 1 : cores[0].shape()[0], shape_of(cores).cols()),
      cores_(std::move(cores)),
      shape_(shape_of(cores_)) {}

Index TokenTrains::num_parameters() const {
  Index sum = 0;
  for (const auto& core : cores_) sum += core.size();
  return sum;
}

FactorizationParts TokenTrains::parts() const {
  FactorizationParts parts{"token-trains", {}, {}, {}};
  for (std::size_t k = 0; k < cores_.size(); ++k) parts.tensors[core_name(k)] = as_stored(cores_[k]);
  return parts;
}

std::unique_ptr<Factorization> TokenTrains::copy() const {
  std::vector<Tensor> cores;
  for (const auto& core : cores_) cores.push_back(core.clone());
  return std::make_unique<TokenTrains>(std::move(cores));
}

std::vector<linalg::Parameter> TokenTrains::parameters() {
  std::vector<linalg::Parameter> all;
  for (std::size_t k = 0; k < cores_.size(); ++k) all.push_back({core_name(k), &cores_[k]});
  return all;
}

std::vector<ConstTensorView> TokenTrains::cores_as(DType dtype) const {
  const bool is_own = dtype == cores_[0].dtype();
  if (!is_own && converted_.empty()) {
    for (const auto& core : cores_) convert(core.view(), converted_.emplace_back(Tensor::uninitialised(dtype, core.shape())).view());
  }
  std::vector<ConstTensorView> views;
  for (const auto& core : is_own ? cores_ : converted_) {
    ConstTensorView view = core.view();
    view.rows = rows(), view.cols = view.stride = core.size() / rows();
    views.push_back(view);
  }
  return views;
}

std::vector<TensorView> TokenTrains::checked(std::span<const TensorView> gradients) const {
  KRONLAB_EXPECTS(gradients.size() == cores_.size(), "token trains: {} gradients for {} cores", gradients.size(), cores_.size());
  std::vector<TensorView> views(gradients.begin(), gradients.end());
  for (std::size_t k = 0; k < views.size(); ++k) {
    auto& view = views[k];
    KRONLAB_EXPECTS(view.rows == cores_[k].rows() && view.cols == cores_[k].cols() && view.stride == view.cols,
                    "token trains: the gradient of {} [{}, {}] is [{}, {}], rows {} apart", core_name(k), cores_[k].rows(), cores_[k].cols(),
                    view.rows, view.cols, view.stride);
    view.rows = rows(), view.cols = view.stride = cores_[k].size() / rows();
  }
  return views;
}

template <class Body>
void TokenTrains::for_strips(Body body) const {
  constexpr Index strip = 512;
  std::vector<std::int32_t> ids;
  for (Index first = 0; first < rows(); first += strip) {
    ids.resize(static_cast<std::size_t>(std::min(strip, rows() - first)));
    std::iota(ids.begin(), ids.end(), static_cast<std::int32_t>(first));
    body(first, std::span<const std::int32_t>(ids));
  }
}

void TokenTrains::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  kernels::expand_row_trains(shape_, cores_as(cores_[0].dtype()), ids, out);
}

void TokenTrains::do_apply(ConstTensorView x, TensorView y, Write write) const {
  for_strips([&](Index first, std::span<const std::int32_t> ids) {
    const Scratch some(static_cast<Index>(ids.size()), cols(), x.dtype);
    do_gather_rows(ids, some.view());
    gemm(Transpose::no, x, Transpose::yes, some.view(), write == Write::add ? 1.0 : 0.0, y.block(0, first, y.rows, some.view().rows));
  });
}

void TokenTrains::do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(y.cols));
  std::iota(ids.begin(), ids.end(), static_cast<std::int32_t>(first_row));
  const Scratch some(y.cols, cols(), x.dtype);
  do_gather_rows(ids, some.view());
  gemm(Transpose::no, x, Transpose::yes, some.view(), 0.0, y);
}

void TokenTrains::do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  // Sums over strips of rows: in float32 for bf16.
  Scratch wide;
  TensorView sum = x;
  if (x.dtype == DType::bf16) {
    wide = Scratch(x.rows, x.cols, DType::f32);
    sum = wide.view();
    if (write == Write::add) convert(x, sum);
  }
  for_strips([&](Index first, std::span<const std::int32_t> ids) {
    const Scratch some(static_cast<Index>(ids.size()), cols(), y.dtype);
    do_gather_rows(ids, some.view());
    gemm(Transpose::no, y.block(0, first, y.rows, some.view().rows), Transpose::no, some.view(), first > 0 || write == Write::add ? 1.0 : 0.0, sum);
  });
  if (x.dtype == DType::bf16) convert(sum, x);
}

void TokenTrains::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients, std::optional<TensorView> dx,
                              Write write) const {
  const auto d_cores = checked(gradients);
  const DType type = x.dtype == DType::f64 ? DType::f64 : DType::f32;
  const auto cores = cores_as(type);
  for_strips([&](Index first, std::span<const std::int32_t> ids) {
    const auto count = static_cast<Index>(ids.size());
    const Scratch d_rows(count, cols(), type);
    gemm(Transpose::yes, dy.block(0, first, dy.rows, count), Transpose::no, x, 0.0, d_rows.view());
    kernels::add_row_train_gradients(shape_, cores, ids, d_rows.view(), d_cores);
  });
  if (dx) do_apply_adjoint(dy, *dx, write);
}

void TokenTrains::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const {
  const auto d_cores = checked(gradients);
  kernels::add_row_train_gradients(shape_, cores_as(dy.dtype), ids, dy, d_cores);
}

}  // namespace kronlab::decompositions
