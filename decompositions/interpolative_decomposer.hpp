#pragma once

#include <memory>

#include "decompositions/decomposer.hpp"

namespace kronlab::decompositions {

/// Interpolative decomposition: some columns of the weight and what of them makes all others, W ~ W[:, J] Z, or some
/// rows, W ~ Z W[J, :]. What is chosen, the skeleton, stays as it is, so that those outputs (or the answers to those
/// inputs) are exact.
///
///   W: [m, n]    columns: W[:, J] [m, r], Z [r, n]    rows: Z [m, r], W[J, :] [r, n]
///
/// J is chosen one by one, each time what lowers the error most (Farahat et al., 1312.6838: greedy column subset
/// selection); Z is the least-squares solution for that J. Weighted by inputs, the error is tr(dW M dW^T) with
/// M = C + damping mean(diag C) I, in the choice and, for rows, in Z; the Z of columns is the same in any such norm.
/// Time O(m n k + r k^2) and memory O(k^2), with k = n for columns and m for rows.
///
/// Cheng, Gimbutas, Martinsson and Rokhlin, On the compression of low rank matrices, 2005.
struct InterpolativeOptions {
  enum class Skeleton { columns, rows };
  SvdOptions size;  ///< how many columns or rows: truncation, or keep
  Skeleton skeleton = Skeleton::columns;
  Weighting weighting = Weighting::none;  ///< or inputs
  double damping = 1e-3;
};
std::unique_ptr<Decomposer> make_interpolative_decomposer(const InterpolativeOptions& options);

}  // namespace kronlab::decompositions
