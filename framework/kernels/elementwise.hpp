#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

// Loops over activations, one row a token. The residual stream is f32 (f64 when checking); what stands between two
// products may be bf16. Legend: n tokens, d width.

/// y = (x - mean) / sqrt(var + epsilon) * gain + bias, per row (Ba et al., Layer normalization, 2016).
/// x: [n, d] f32 or f64; gain, bias: [1, d] f32; y: [n, d] of x's type or bf16
void layer_norm(ConstTensorView x, ConstTensorView gain, ConstTensorView bias, double epsilon, TensorView y);

/// y = x / sqrt(mean(x^2) + epsilon) * gain, per row (Zhang and Sennrich, Root mean square layer normalization, 2019).
void rms_norm(ConstTensorView x, ConstTensorView gain, double epsilon, TensorView y);

/// x += bias on every row.  x: [n, d] f32, f64 or bf16; bias: [1, d] f32
void add_bias(ConstTensorView bias, TensorView x);

/// x = gelu(x + bias) in place with the tanh formula of GPT-2 (`gelu_new`).  bias: [1, d] f32 or empty
void gelu(ConstTensorView bias, TensorView x);

/// gate = silu(gate) * up in place (SwiGLU: Shazeer, GLU variants improve transformer, 2020).
void silu_times(ConstTensorView up, TensorView gate);

/// x[i, :] += table[i mod length, :]: learned positions.  table: [context, d] f32, x: [n, d]
void add_positions(ConstTensorView table, Index length, TensorView x);

/// Cosines and sines of rotary embeddings in f32 (or f64): [length, head_dim], the first half cos, the second sin.
/// Angle of pair i at position t: t theta^(-2 i / head_dim) (Su et al., RoFormer, 2021), computed in double.
Tensor rotary_table(Index length, Index head_dim, double theta, DType dtype);

/// Rotates each head of x in place, pairs (i, i + head_dim / 2) as Hugging Face's rotate-half.
/// x: [n, heads * head_dim] f32, f64 or bf16, rows of `length` tokens a sequence; table: rotary_table of >= length rows
void rotate_heads(ConstTensorView table, Index head_dim, Index length, TensorView x);

}  // namespace kronlab::kernels
