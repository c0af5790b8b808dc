#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// The extents of what a row holds: [outer, inner, run].
struct AxisExtents {
  Index outer = 1;
  Index inner = 1;
  Index run = 1;
  Index size() const { return outer * inner * run; }
};

/// y[t, (b, a, c)] (+)= x[t, (a, b, c)] for a < outer, b < inner, c < run: two neighbouring axes of a tensor change places.
/// x and y: [n, outer inner run], f32, f64 or bf16, of one type, not overlapping
void swap_axes(const AxisExtents& extents, ConstTensorView x, TensorView y, bool add = false);

}  // namespace kronlab::kernels
