#pragma once

#include <vector>

#include "framework/kernels/kronecker.hpp"
#include "framework/tensor/tensor.hpp"

namespace kronlab::decompositions {

/// Factors of a sum of Kronecker products in double: A_k beside each other, [m1, r n1], and B_k: [r, m2 n2].
struct KroneckerFactors {
  Matrix<double> left, right;
};

/// Alternating least squares for tr(S dW C dW^T), dW = W - Σ_k A_k ⊗ B_k, from given factors, in place.
///
/// Without S (an empty one) and with all B fixed, every block row a of A solves the same system N A_a = D_a of r n1 unknowns,
///
///   N[(i,c),(j,d)] = Σ_ust B_i[u,s] C[(c,s),(d,t)] B_j[u,t],   D_a[(i,c)] = Σ_us (W C)[(a,u),(c,s)] B_i[u,s],
///
/// with all A fixed every row u of B one of r n2 unknowns. With S the block rows are coupled: some steps of conjugate
/// gradients instead, preconditioned by the systems without S. The systems get 1e-10 of their mean diagonal added, so that
/// terms may be dependent; a round that does not lower the error is undone and ends the refit.
///
/// w: [m1 m2, n1 n2], c: [n1 n2, n1 n2] and s: [m1 m2, m1 m2] symmetric positive definite. Returns the error before the
/// first and after each round, relative: tr(S dW C dW^T) / tr(S W C W^T), non-increasing.
std::vector<double> refit(const kernels::KroneckerShape& shape, ConstMatrixView<double> w, ConstMatrixView<double> c,
                          ConstMatrixView<double> s, Index num_rounds, KroneckerFactors& factors);

}  // namespace kronlab::decompositions
