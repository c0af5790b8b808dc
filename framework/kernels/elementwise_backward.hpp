#pragma once

#include <cstdint>
#include <span>

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

// Gradients of the loops in elementwise.hpp. A `d_` before a name is the gradient of a loss with respect to it. Streams
// are f32 (f64 when checking), activations f32, f64 or bf16. Parameters and their gradients are f32; beside f64
// activations they are f64, or f32 parameters and f64 gradients. Gradients of parameters are added to; an empty view means
// that the parameter is frozen. Sums over rows are bit-equal for any number of threads. Legend: n tokens, d width.

/// Gradients of layer_norm. dx is added to.
/// x, dx: [n, d] stream; dy: [n, d] of x's type or bf16; gain, d_gain, d_bias: [1, d]
void layer_norm_backward(ConstTensorView x, ConstTensorView gain, double epsilon, ConstTensorView dy, TensorView dx,
                         TensorView d_gain, TensorView d_bias);

/// Gradients of rms_norm, as layer_norm_backward.
void rms_norm_backward(ConstTensorView x, ConstTensorView gain, double epsilon, ConstTensorView dy, TensorView dx,
                       TensorView d_gain);

/// Gradient of gelu and, again, its value: d from dL/dy to dL/dx in place, y = gelu(x + bias).
/// The gradient of the bias is the sum of the columns of dL/dx.  x, d, y: [n, d] activations; bias: [1, d] or empty
void gelu_backward(ConstTensorView bias, ConstTensorView x, TensorView d, TensorView y);

/// Gradients of silu_times and, again, its value: d from dL/dy to dL/dgate in place, y = silu(gate) * up unless empty.
/// up, gate, d, d_up, y: [n, d] activations; d_up and y may lie on `up` and `gate`
void silu_times_backward(ConstTensorView up, ConstTensorView gate, TensorView d, TensorView d_up, TensorView y);

/// sums[0, j] += sum_i dy[i, j]: the gradient of a bias.  dy: [n, d] activations or stream
void add_column_sums(ConstTensorView dy, TensorView sums);

/// sums[0, j] += sum_i x[i, j] dy[i, j]: the gradient of the scales of scale_columns.  x, dy: [n, d] activations
void add_column_products(ConstTensorView x, ConstTensorView dy, TensorView sums);

/// sums[0, ids[i]] += sum_j x[i, j] dy[i, j], in the sequence of i.  x, dy: [n, d] f32 or f64
void add_row_products(std::span<const std::int32_t> ids, ConstTensorView x, ConstTensorView dy, TensorView sums);

/// d_table[t, :] += sum over sequences s of d_stream[s * length + t, :]: the gradient of add_positions.
void add_position_gradient(Index length, ConstTensorView d_stream, TensorView d_table);

/// d_table[ids[i], :] += dy[i, :] for i = 0, 1, ...: the gradient of an embedding.  dy: [n, d]; d_table: [vocabulary, d]
void scatter_add_rows(std::span<const std::int32_t> ids, ConstTensorView dy, TensorView d_table);

}  // namespace kronlab::kernels
