#pragma once

#include <optional>

#include "framework/tensor/tensor.hpp"

namespace kronlab::linalg {

/// Orthonormal rows that span the space of the k leading right singular vectors of A, and how they were found.
struct LeadingVectors {
  Matrix<double> vt;         ///< [k, n], by falling singular value
  Index num_iterations = 0;  ///< blocks
  double residual = 0.0;     ///< largest |A^T A v - s^2 v| / s_1^2 of the k
};

/// Block Golub-Kahan-Lanczos with full reorthogonalisation, from a random block of k + 2 vectors with a fixed name: the
/// block is wider than k, so values of any multiplicity are found as often as they are wanted, and a space that is
/// exhausted before it converged is an answer, not a breakdown. A: [m, n].
///
/// None if the basis would exceed `max_basis` vectors before every residual is below `tolerance`. Deterministic;
/// bit-equal for any number of threads. Time O(m n b), memory (m + n) b doubles for a basis of b. @pre 1 <= k, k + 2 <=
/// n
///
/// Golub, Luk and Overton, A block Lanczos method for computing the singular values and corresponding singular vectors
/// of a matrix, 1981.
std::optional<LeadingVectors> block_lanczos(ConstMatrixView<double> a, Index k, Index max_basis, double tolerance);

}  // namespace kronlab::linalg
