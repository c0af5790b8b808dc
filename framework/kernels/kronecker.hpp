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

// Right factors are [num_terms, m2 n2], f32 or f64, and are rounded to the type that is computed in: double for f64
// activations, else float32.

/// z[(t, u), (k, j)] (+)= Σ_s B_k[u, s] x[t, (j, s)]: the right factors applied first.
/// x: [n, n1 n2] and z: [n m2, num_terms n1] of one type
void contract_right(const KroneckerShape& shape, ConstTensorView right, ConstTensorView x, TensorView z,
                    bool add = false);

/// x[t, (j, s)] (+)= Σ_k Σ_u B_k[u, s] z[(t, u), (k, j)]: the adjoint of contract_right. Types may be (bf16, f32).
void expand_right(const KroneckerShape& shape, ConstTensorView right, ConstTensorView z, TensorView x, bool add);

/// d_right[k, (u, s)] += Σ_t Σ_j dz[(t, u), (k, j)] x[t, (j, s)]: the gradient of contract_right in the right factors.
/// x: [n, n1 n2] and dz: [n m2, num_terms n1] of one type; d_right: [num_terms, m2 n2] f32 or f64
///
/// Sums of 64 rows are accumulated in the type that is computed in, those sums in double and in the rows' sequence:
/// bit-equal for any number of threads.
void contract_right_gradient(const KroneckerShape& shape, ConstTensorView x, ConstTensorView dz, TensorView d_right);

/// y[t, (a, u)] (+)= w[(t, u), a] for w: [n m2, m1], y: [n, m1 m2]; types may be (T, T) or (bf16, f32).
void interleave(Index inner, ConstTensorView w, TensorView y, bool add);
/// w[(t, u), a] = y[t, (a, u)].
void deinterleave(Index inner, ConstTensorView y, TensorView w);

/// y[t, to[i]] (+)= x[t, i] if scatter, y[t, i] (+)= x[t, from[i]] if gather: permutations of columns.
enum class Move { gather, scatter };
void permute_columns(std::span<const Index> order, Move move, ConstTensorView x, TensorView y, bool add);

}  // namespace kronlab::kernels
