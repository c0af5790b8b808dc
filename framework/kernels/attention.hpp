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
void causal_attention(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v, TensorView out);

}  // namespace kronlab::kernels
