#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab::linalg {

enum class Transpose { no, yes };

/// C = op(A) op(B) + beta C with beta 0 or 1: the front of every matrix product.
///
/// f32 (oneDNN), f64 (BLAS) for all three, or A, B in bf16 with C in bf16 or f32 (oneDNN, accumulated in float32).
/// The result of one element depends on its row of A, its column of B and the shapes, never on the number of ranks.
/// f64 is bit-equal for any number of threads; f32 and bf16 need not be (oneDNN divides its sums by it).
/// @pre inner extents agree; C: [rows of op(A), columns of op(B)]; C overlaps neither A nor B
void gemm(Transpose transpose_a, ConstTensorView a, Transpose transpose_b, ConstTensorView b, double beta, TensorView c);

/// G = X^T X in double, symmetric, both halves filled.  x: [n, d] f32 or f64, g: [d, d]; `add` accumulates.
/// Bit-equal for any number of threads.
void gram(ConstTensorView x, MatrixView<double> g, bool add = false);

}  // namespace kronlab::linalg
