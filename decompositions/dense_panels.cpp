#include "decompositions/dense_panels.hpp"

#include <algorithm>

#include "framework/tensor/scratch.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Transpose;
using linalg::Write;

/// body(first row, number of rows) for each panel.
template <class Body>
void for_panels(Index rows, Index cols, const Body& body) {
  constexpr Index panel_size = Index{1} << 24;  // numbers: a product of few long rows packs its other side too often
  const Index most = std::clamp(panel_size / cols, Index{16}, rows);
  for (Index first = 0; first < rows; first += most) body(first, std::min(most, rows - first));
}

}  // namespace

void apply_by_panels(const WriteRows& weight, ConstTensorView x, TensorView y, Write write) {
  for_panels(y.cols, x.cols, [&](Index first, Index count) {
    const Scratch panel(count, x.cols, x.dtype);
    weight(first, panel.view());
    linalg::gemm(Transpose::no, x, Transpose::yes, panel.view(), write == Write::add ? 1.0 : 0.0, y.block(0, first, y.rows, count));
  });
}

void apply_adjoint_by_panels(const WriteRows& weight, ConstTensorView y, TensorView x, Write write) {
  const bool is_narrow = x.dtype == DType::bf16;  // sums over the panels stay in float32
  Scratch wide;
  if (is_narrow) wide = Scratch(x.rows, x.cols, DType::f32);
  const TensorView sums = is_narrow ? wide.view() : x;
  if (is_narrow && write == Write::add) convert(x, sums);
  for_panels(y.cols, x.cols, [&](Index first, Index count) {
    const Scratch panel(count, x.cols, y.dtype);
    weight(first, panel.view());
    linalg::gemm(Transpose::no, y.block(0, first, y.rows, count), Transpose::no, panel.view(), first > 0 || write == Write::add ? 1.0 : 0.0, sums);
  });
  if (is_narrow) convert(sums, x);
}

void weight_gradient_by_panels(ConstTensorView x, ConstTensorView dy, const ReadRows& gradient) {
  for_panels(dy.cols, x.cols, [&](Index first, Index count) {
    const Scratch panel(count, x.cols, x.dtype == DType::f64 ? DType::f64 : DType::f32);
    linalg::gemm(Transpose::yes, dy.block(0, first, dy.rows, count), Transpose::no, x, 0.0, panel.view());
    gradient(first, panel.view());
  });
}

void gather_by_panels(const WriteRows& weight, std::span<const std::int32_t> ids, TensorView out) {
  for (std::size_t first = 0; first < ids.size();) {
    std::size_t last = first + 1;
    while (last < ids.size() && ids[last] == ids[last - 1] + 1) ++last;
    weight(ids[first], out.block(static_cast<Index>(first), 0, static_cast<Index>(last - first), out.cols));
    first = last;
  }
}

}  // namespace kronlab::decompositions
