#pragma once

#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::linalg {

/// A perfect matching of elements and a bound that no matching exceeds.
struct Matching {
  std::vector<Index> partner;
  double worth = 0.0;  ///< Σ over pairs
  double bound = 0.0;  ///< from a dual solution; worth up to n times the rounding of the weights to 2^-40 of the largest
  Index num_rounds = 0;
};

/// The perfect matching of largest worth. worth: [n, n], symmetric, finite; n even; the diagonal is not looked at.
///
/// Edmonds' algorithm on the edges of least slack in the fractional matching (an assignment), with edges that its duals
/// price wrongly added until there are none: exact on the complete graph, in time near that of the assignment.
/// Deterministic.
///
/// Applegate and Cook, Solving large-scale matching problems, 1993 (price and repair).
Matching best_matching(ConstMatrixView<float> worth);

}  // namespace kronlab::linalg
