#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

// Loops over activations, one row a token. The residual stream is f32 (f64 when checking); what stands between two
// products may be bf16. Parameters are f32; beside f64 activations they may be f64. Legend: n tokens, d width.

/// y = (x - mean) / sqrt(var + epsilon) * gain + bias, per row (Ba et al., Layer normalization, 2016).
/// x: [n, d] f32 or f64; gain, bias: [1, d]; y: [n, d] of x's type or bf16
void layer_norm(ConstTensorView x, ConstTensorView gain, ConstTensorView bias, double epsilon, TensorView y);

/// y = x / sqrt(mean(x^2) + epsilon) * gain, per row (Zhang and Sennrich, Root mean square layer normalization, 2019).
void rms_norm(ConstTensorView x, ConstTensorView gain, double epsilon, TensorView y);

/// x += bias on every row.  x: [n, d] f32, f64 or bf16; bias: [1, d]
void add_bias(ConstTensorView bias, TensorView x);

/// y += x.  x, y: [n, d], both f32, f64 or bf16
void add(ConstTensorView x, TensorView y);

/// y = x .* scales on every row, or y += that.  x, y: [n, d] f32, f64 or bf16, or x bf16 and y f32; y may be x unless it is
/// added to; scales: [1, d] f32 or f64
void scale_columns(ConstTensorView scales, ConstTensorView x, TensorView y, bool add);

/// x[i, :] *= scales[i].  x: [n, d] f32, f64 or bf16; scales: [1, n] f32 or f64
void scale_rows(ConstTensorView scales, TensorView x);

/// y = gelu(x + bias) with the tanh formula of GPT-2 (`gelu_new`); the short form works in place.
/// x, y: [n, d] f32, f64 or bf16; bias: [1, d] or empty
void gelu(ConstTensorView bias, ConstTensorView x, TensorView y);
void gelu(ConstTensorView bias, TensorView x);

/// y = silu(gate) * up (SwiGLU: Shazeer, GLU variants improve transformer, 2020); the short form overwrites `gate`.
void silu_times(ConstTensorView up, ConstTensorView gate, TensorView y);
void silu_times(ConstTensorView up, TensorView gate);

/// x[i, :] += table[i mod length, :]: learned positions.  table: [context, d], x: [n, d]
void add_positions(ConstTensorView table, Index length, TensorView x);

/// Cosines and sines of rotary embeddings in f32 (or f64): [length, head_dim], the first half cos, the second sin.
/// Angle of pair i at position t: t theta^(-2 i / head_dim) (Su et al., RoFormer, 2021), computed in double.
Tensor rotary_table(Index length, Index head_dim, double theta, DType dtype);

/// Turn back is the inverse rotation, which is also how a gradient passes through the rotation.
enum class Turn { forth, back };

/// Rotates each head of x in place, pairs (i, i + head_dim / 2) as Hugging Face's rotate-half.
/// x: [n, heads * head_dim] f32, f64 or bf16, rows of `length` tokens a sequence; table: rotary_table of >= length rows
void rotate_heads(ConstTensorView table, Index head_dim, Index length, TensorView x, Turn turn = Turn::forth);

}  // namespace kronlab::kernels
