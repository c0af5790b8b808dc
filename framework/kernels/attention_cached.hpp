#pragma once

#include "framework/kernels/attention.hpp"

namespace kronlab::kernels {

/// Attention of the last n positions of one sequence whose keys and values are all there: row i of q is position
/// length - n + i and attends to 0 .. itself.
///
///   q, out: [n, num_heads * head_dim]   k, v: [length, num_kv_heads * head_dim]
///
/// Types and arithmetic are those of causal_attention. For few queries: nothing is packed, every query reads the keys
/// and values anew. Bit-equal for any number of threads and however the sequence is cut.
/// @pre one sequence; n <= length
void cached_attention(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v,
                      TensorView out);

}  // namespace kronlab::kernels
