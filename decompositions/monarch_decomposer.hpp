#pragma once

#include <memory>
#include <optional>

#include "decompositions/decomposer.hpp"

namespace kronlab::decompositions {

/// The nearest Monarch matrix (monarch.hpp) in the Frobenius norm: truncated SVDs of the slices W[., b, c, .].
///
///   W: [m1 m2, n1 n2]    m2 n1 slices [m1, n2], each by r singular triples
///
/// Blocks that are not given make slices as square as extents allow: m2 and n1 near the roots of rows and columns.
/// Dao et al., 2204.00595, where r = 1.
struct MonarchOptions {
  std::optional<Index> left_blocks;   ///< m2; must divide the rows of the weight
  std::optional<Index> right_blocks;  ///< n1; must divide the columns of the weight
  std::optional<Index> num_terms;     ///< r
  std::optional<double> keep;         ///< or the share of the weight's parameters that stays, at most
  Weighting weighting = Weighting::none;  ///< none, or inputs: columns times sqrt(C_jj), the result Scaled
  double damping = 1e-3;                  ///< of C, in parts of its mean diagonal
};
std::unique_ptr<Decomposer> make_monarch_decomposer(const MonarchOptions& options);

}  // namespace kronlab::decompositions
