#pragma once

#include <span>

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// Shape of a sum of Kronecker products Σ_k A_k ⊗ B_k: A_k [m1, n1], B_k [m2, n2].
struct KroneckerShape {
  Index num_terms = 1;
  Index left_rows = 0;   ///< m1
  Index left_cols = 0;   ///< n1
  Index right_rows = 0;  ///< m2
  Index right_cols = 0;  ///< n2
};

/// z[(t, u), (k, j)] = Σ_s B_k[u, s] x[t, (j, s)]: the right factors applied first.
/// x: [n, n1 n2] and z: [n m2, num_terms n1] of one type; right: [num_terms, m2 n2] f32
void contract_right(const KroneckerShape& shape, ConstTensorView right, ConstTensorView x, TensorView z);

/// x[t, (j, s)] (+)= Σ_k Σ_u B_k[u, s] z[(t, u), (k, j)]: the adjoint of contract_right.
void expand_right(const KroneckerShape& shape, ConstTensorView right, ConstTensorView z, TensorView x, bool add);

/// y[t, (a, u)] (+)= w[(t, u), a] for w: [n m2, m1], y: [n, m1 m2]; types may be (T, T) or (bf16, f32).
void interleave(Index inner, ConstTensorView w, TensorView y, bool add);
/// w[(t, u), a] = y[t, (a, u)].
void deinterleave(Index inner, ConstTensorView y, TensorView w);

/// y[t, to[i]] (+)= x[t, i] if scatter, y[t, i] (+)= x[t, from[i]] if gather: permutations of columns.
enum class Move { gather, scatter };
void permute_columns(std::span<const Index> order, Move move, ConstTensorView x, TensorView y, bool add);

}  // namespace kronlab::kernels
