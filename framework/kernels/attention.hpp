#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// Shape of a batch of causal attention: `num_heads` query heads share `num_kv_heads` key/value heads in groups.
struct AttentionShape {
  Index num_sequences = 1;
  Index length = 0;  ///< tokens of each sequence
  Index num_heads = 0;
  Index num_kv_heads = 0;
  Index head_dim = 0;
};

/// out = softmax(q k^T / sqrt(head_dim)) v per head, position i attending to 0 .. i (Vaswani et al., 2017).
///
///   q, out: [num_sequences * length, num_heads * head_dim]   k, v: [num_sequences * length, num_kv_heads * head_dim]
///
/// f32, f64 or bf16, all alike; computed in float32 (double for f64). Blocked: a thread holds the scores of a few dozen
/// queries, never length x length. Bit-equal for any number of threads.
void causal_attention(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v,
                      TensorView out);

/// Attention rows that a student should reproduce: the teacher's queries and keys (after rotation), as many sequences,
/// tokens and query heads as the student has; other widths of heads and groups are welcome.
struct AttentionTarget {
  ConstTensorView q, k;
  Index num_kv_heads = 0;
  Index head_dim = 0;
  double weight = 0;
};

/// Gradients of causal_attention; dq, dk and dv are written.
///
///   q, d_out, dq: [num_sequences * length, num_heads * head_dim]
///   k, v, dk, dv: [num_sequences * length, num_kv_heads * head_dim]
///
/// All of q's type, a target's too. dq may lie on q or d_out, dk on k and dv on v. A target adds weight * mean over
/// sequences, heads and rows of KL(teacher || student) of the attention rows to the loss, hence weight / (num_sequences
/// * num_heads * length) * (student row - teacher row) to the gradient of a row of scores. Returns the unweighted mean,
/// 0 without a target. Blocked and bit-equal as causal_attention.
double causal_attention_backward(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v,
                                 ConstTensorView d_out, TensorView dq, TensorView dk, TensorView dv,
                                 const AttentionTarget* target = nullptr);

}  // namespace kronlab::kernels
