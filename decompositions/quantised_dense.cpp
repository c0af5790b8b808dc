#include "decompositions/quantised_dense.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "decompositions/bit_packing.hpp"
#include "decompositions/dense_panels.hpp"
#include "decompositions/part_access.hpp"
#include "decompositions/permuted.hpp"
#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/kronecker.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {
namespace {

using kernels::Move;
using linalg::Write;

void expect_size(std::size_t found, Index expected, const char* what) {
  if (static_cast<Index>(found) != expected) throw DataError(fmt::format("quantised: {} {}, expected {}", found, what, expected));
}

void expect_below(const std::vector<std::uint8_t>& values, Index levels, const char* what) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= levels) throw DataError(fmt::format("quantised: {} {} is {}, expected less than {}", what, i, values[i], levels));
  }
}

void expect_finite(const Tensor& scales) {
  kernels::for_real_type(scales.dtype(), [&]<class Real>(Real) {
    const auto all = scales.values<Real>();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!std::isfinite(all[i])) throw DataError(fmt::format("quantised: scale {} is {}, expected a finite number", i, all[i]));
    }
  });
}

const QuantisedCodes& checked(const QuantisedCodes& content) {
  const auto& grid = content.grid;
  expect_possible(grid);
  const Index size = checked_product(content.rows, content.cols, "quantised");
  if (size == 0) throw DataError(fmt::format("quantised: {} x {} codes", content.rows, content.cols));
  expect_size(content.codes.size(), size, "codes");
  const Index num_scales = content.rows * grid.num_groups(content.cols);
  const bool is_master = content.scales.dtype() == DType::f32 || content.scales.dtype() == DType::f64;
  if (!is_master) throw DataError(fmt::format("quantised: scales of type {}", to_string(content.scales.dtype())));
  expect_size(static_cast<std::size_t>(content.scales.size()), num_scales, "scales");
  expect_finite(content.scales);
  expect_size(content.zeros.size(), grid.symmetric ? 0 : num_scales, "zeros");
  expect_below(content.zeros, grid.num_levels(), "zero");
  if (!content.order.empty()) expect_permutation(content.order, content.cols, "quantised: order");
  if (content.kept && (content.kept->rows() != content.rows || content.kept->cols() != content.cols))
    throw DataError(fmt::format("quantised: {} x {} codes with entries of {} x {}", content.rows, content.cols, content.kept->rows(), content.kept->cols()));
  if (!content.kept) expect_below(content.codes, grid.num_levels(), "code");
  return content;
}

}  // namespace

QuantisedDense::QuantisedDense(QuantisedCodes content)
    : Factorization(checked(content).rows, content.cols),
      grid_(content.grid),
      scales_(std::move(content.scales)),
      zeros_(std::move(content.zeros)),
      order_(std::move(content.order)),
      kept_(std::move(content.kept)) {
  const Index num_groups = grid_.num_groups(cols()), row_words = kernels::packed_row_words(grid_.bits, cols());
  if (grid_.symmetric) zeros_.assign(static_cast<std::size_t>(rows() * num_groups), static_cast<std::uint8_t>(grid_.num_levels() / 2));
  if (kept_) {
    const auto kept = kept_->flags();
    for (Index i = 0; i < rows() * cols(); ++i) {
      const Index group = i / cols() * num_groups + (grid_.group == 0 ? 0 : i % cols() / grid_.group);
      if (kept[static_cast<std::size_t>(i)] == 0) content.codes[static_cast<std::size_t>(i)] = zeros_[static_cast<std::size_t>(group)];
    }
    expect_below(content.codes, grid_.num_levels(), "code");
  }
  packed_.resize(static_cast<std::size_t>(rows() * row_words));
  for (Index i = 0; i < rows(); ++i) kernels::pack_row(grid_.bits, content.codes.data() + i * cols(), cols(), packed_.data() + i * row_words);
}

QuantisedDense::QuantisedDense(const QuantisedDense& other)
    : Factorization(other.rows(), other.cols()),
      grid_(other.grid_),
      packed_(other.packed_),
      scales_(other.scales_.clone()),
      zeros_(other.zeros_),
      order_(other.order_),
      kept_(other.kept_) {}

std::unique_ptr<Factorization> QuantisedDense::copy() const { return std::unique_ptr<Factorization>(new QuantisedDense(*this)); }

Index QuantisedDense::stored_bytes_of(Index rows, Index cols, const QuantisationGrid& grid, bool has_order, std::optional<Index> num_kept,
                                      SparsePattern pattern) {
  expect_possible(grid);
  const Index num_scales = rows * grid.num_groups(cols);
  Index bytes = num_scales * size_of(DType::f16) + (grid.symmetric ? 0 : packed_bytes(num_scales, grid.bits)) + (has_order ? 4 * cols : 0);
  if (!num_kept) return bytes + packed_bytes(rows * cols, grid.bits);
  if (pattern.m > 0) num_kept = KeptEntries::num_kept(rows, cols, pattern);
  return bytes + packed_bytes(*num_kept, grid.bits) + KeptEntries::stored_bytes_of(rows, cols, pattern, *num_kept);
}

bool QuantisedDense::has_half_scales() const {
  const Tensor single = as_stored(scales_);
  return std::ranges::all_of(single.values<float>(), [](float scale) { return static_cast<float>(float16(scale)) == scale; });
}

Index QuantisedDense::stored_bytes() const {
  const auto num_kept = kept_ ? std::optional(kept_->size()) : std::nullopt;
  const Index bytes = stored_bytes_of(rows(), cols(), grid_, !order_.empty(), num_kept, kept_ ? kept_->pattern() : SparsePattern{});
  return bytes + (has_half_scales() ? 0 : (size_of(DType::f32) - size_of(DType::f16)) * scales_.size());
}

std::vector<std::uint8_t> QuantisedDense::codes() const {
  std::vector<std::uint8_t> all(static_cast<std::size_t>(rows() * cols()));
  const Index row_words = kernels::packed_row_words(grid_.bits, cols());
  for (Index i = 0; i < rows(); ++i) kernels::unpack_row(grid_.bits, packed_.data() + i * row_words, cols(), all.data() + i * cols());
  return all;
}

FactorizationParts QuantisedDense::parts() const {
  FactorizationParts parts{"quantised-dense", {}, {}, {}};
  parts.integers = {{"rows", rows()}, {"cols", cols()}, {"bits", grid_.bits}, {"group", grid_.group}, {"symmetric", grid_.symmetric}};
  auto stored = codes();
  if (kept_) {
    kept_->add_to(parts);
    const auto kept = kept_->flags();
    std::size_t count = 0;
    for (std::size_t i = 0; i < stored.size(); ++i) {
      if (kept[i] != 0) stored[count++] = stored[i];
    }
    stored.resize(count);
  }
  parts.tensors["codes"] = packed_bits(stored, grid_.bits);
  Tensor scales = Tensor::uninitialised(has_half_scales() ? DType::f16 : DType::f32, scales_.shape());
  convert(scales_.view(), scales.view());
  parts.tensors["scales"] = std::move(scales);
  if (!grid_.symmetric) parts.tensors["zeros"] = packed_bits(zeros_, grid_.bits);
  if (!order_.empty()) {
    Tensor order(DType::i32, {cols()});
    std::ranges::transform(order_, order.values<std::int32_t>().begin(), [](Index column) { return static_cast<std::int32_t>(column); });
    parts.tensors["order"] = std::move(order);
  }
  return parts;
}

std::unique_ptr<QuantisedDense> QuantisedDense::from_parts(FactorizationParts& parts) {
  QuantisedCodes content;
  content.rows = integer_of(parts, "rows"), content.cols = integer_of(parts, "cols");
  content.grid = {integer_of(parts, "bits"), integer_of(parts, "group"), integer_of(parts, "symmetric") != 0};
  try {
    expect_possible(content.grid);
  } catch (const ConfigError& error) {
    throw DataError(error.what());
  }
  const Index size = checked_product(content.rows, content.cols, "quantised");
  if (size == 0) throw DataError(fmt::format("quantised: {} x {} codes", content.rows, content.cols));
  const Tensor codes = take_tensor(parts, "codes"), scales = take_tensor(parts, "scales");
  if (parts.integers.contains("n")) {
    content.kept = std::make_shared<const KeptEntries>(KeptEntries::from_parts(parts));
    const auto stored = unpacked_bytes(codes, content.kept->size(), content.grid.bits, "quantised codes");
    const auto kept = content.kept->flags();
    if (static_cast<Index>(kept.size()) != size) throw DataError("quantised: entries of another shape than the codes");
    content.codes.resize(kept.size());
    std::size_t next = 0;
    for (std::size_t i = 0; i < kept.size(); ++i) {
      if (kept[i] != 0) content.codes[i] = stored[next++];
    }
  } else {
    content.codes = unpacked_bytes(codes, size, content.grid.bits, "quantised codes");
  }
  if (scales.dtype() != DType::f16 && scales.dtype() != DType::f32)
    throw DataError(fmt::format("quantised: scales of type {}, expected f16 or f32", to_string(scales.dtype())));
  content.scales = as_stored(scales);
  if (!content.grid.symmetric) content.zeros = unpacked_bytes(take_tensor(parts, "zeros"), scales.size(), content.grid.bits, "quantised zeros");
  if (parts.tensors.contains("order")) {
    const Tensor order = take_tensor(parts, "order");
    if (order.dtype() != DType::i32) throw DataError(fmt::format("quantised: an order of type {}, expected i32", to_string(order.dtype())));
    content.order.assign(order.values<std::int32_t>().begin(), order.values<std::int32_t>().end());
  }
  return std::make_unique<QuantisedDense>(std::move(content));
}

kernels::PackedCodes QuantisedDense::view(Index first_row, Index num_rows) const {
  const Index num_groups = grid_.num_groups(cols());
  return {grid_.bits,
          num_rows,
          cols(),
          grid_.group == 0 ? cols() : grid_.group,
          packed_.data() + first_row * kernels::packed_row_words(grid_.bits, cols()),
          zeros_.data() + first_row * num_groups,
          scales_.view().block(first_row, 0, num_rows, num_groups)};
}

TensorView QuantisedDense::gradient_of(std::span<const TensorView> gradients) const {
  KRONLAB_EXPECTS(gradients.size() == 1 && gradients[0].rows == rows() && gradients[0].cols == grid_.num_groups(cols()),
                  "{} gradients for the scales [{}, {}] of a quantised weight, or of another shape", gradients.size(), rows(), grid_.num_groups(cols()));
  return gradients[0];
}

namespace {

/// x with its columns by their places; itself where they have their own sequence.
ConstTensorView by_place(const std::vector<Index>& order, ConstTensorView x, Scratch& scratch) {
  if (order.empty()) return x;
  scratch = Scratch(x.rows, x.cols, x.dtype);
  kernels::permute_columns(order, Move::gather, x, scratch.view(), false);
  return scratch.view();
}

}  // namespace

void QuantisedDense::apply_rows(ConstTensorView x, Index first_row, TensorView y, Write write) const {
  constexpr Index few = 8;  // rows of x, below which reading the weight is what takes time
  Scratch moved;
  const ConstTensorView in = by_place(order_, x, moved);
  const auto rows = view(first_row, y.cols);
  if (x.dtype != DType::f64 && x.rows <= few) return kernels::packed_product(rows, in, y, write == Write::add);
  apply_by_panels([&](Index first, TensorView panel) { kernels::dequantise_rows(rows, first, panel); }, in, y, write);
}

void QuantisedDense::do_apply(ConstTensorView x, TensorView y, Write write) const { apply_rows(x, 0, y, write); }

void QuantisedDense::do_apply_slice(ConstTensorView x, Index first_row, TensorView y) const { apply_rows(x, first_row, y, Write::replace); }

void QuantisedDense::do_apply_adjoint(ConstTensorView y, TensorView x, Write write) const {
  const auto weight = [&](Index first, TensorView panel) { kernels::dequantise_rows(view(0, rows()), first, panel); };
  if (order_.empty()) return apply_adjoint_by_panels(weight, y, x, write);
  const Scratch placed(x.rows, x.cols, y.dtype);
  apply_adjoint_by_panels(weight, y, placed.view(), Write::replace);
  kernels::permute_columns(order_, Move::scatter, placed.view(), x, write == Write::add);
}

void QuantisedDense::do_gather_rows(std::span<const std::int32_t> ids, TensorView out) const {
  const auto weight = [&](Index first, TensorView some) { kernels::dequantise_rows(view(0, rows()), first, some); };
  if (order_.empty()) return gather_by_panels(weight, ids, out);
  constexpr std::size_t strip = 4096;  // rows, which bounds the scratch where all rows are wanted
  for (std::size_t first = 0; first < ids.size(); first += strip) {
    const auto some = ids.subspan(first, std::min(strip, ids.size() - first));
    const Scratch placed(static_cast<Index>(some.size()), out.cols, out.dtype);
    gather_by_panels(weight, some, placed.view());
    kernels::permute_columns(order_, Move::scatter, placed.view(), out.block(static_cast<Index>(first), 0, static_cast<Index>(some.size()), out.cols), false);
  }
}

void QuantisedDense::do_backward(ConstTensorView x, ConstTensorView dy, std::span<const TensorView> gradients, std::optional<TensorView> dx,
                                 Write write) const {
  const TensorView gradient = gradient_of(gradients);
  Scratch moved;
  weight_gradient_by_panels(by_place(order_, x, moved), dy, [&](Index first, ConstTensorView some) {
    kernels::add_scale_gradient(view(0, rows()), first, some, gradient);
  });
  if (dx) do_apply_adjoint(dy, *dx, write);
}

void QuantisedDense::do_backward_gather(std::span<const std::int32_t> ids, ConstTensorView dy, std::span<const TensorView> gradients) const {
  const TensorView gradient = gradient_of(gradients);
  Scratch moved;
  const ConstTensorView in = by_place(order_, dy, moved);
  for (std::size_t i = 0; i < ids.size(); ++i)
    kernels::add_scale_gradient(view(0, rows()), ids[i], in.block(static_cast<Index>(i), 0, 1, in.cols), gradient);
}

}  // namespace kronlab::decompositions
