#pragma once

#include <optional>
#include <vector>

#include "decompositions/mpo_contraction.hpp"

namespace kronlab::decompositions {

/// A tensor [s_0, s_1, ...] as a train of cores G_k: [r_k, s_k, r_(k+1)], r of the ends 1.
struct TensorTrain {
  std::vector<Matrix<double>> cores;       ///< [r_k s_k, r_(k+1)]
  std::vector<double> discarded_weights;   ///< of each bond: the squared norm that was cut off there, over that of the tensor
  std::vector<double> spectrum;            ///< singular values, descending, of the bond where most was cut off
};

/// How far bonds reach: at most `bond_dimension`, and no farther than a relative error of all bonds together asks.
struct BondRule {
  Index bond_dimension = 1;
  double truncation_error = 0.0;  ///< of |T - T^|_F / |T|_F: each of d - 1 bonds may cut off 1 / sqrt(d - 1) of it
};

/// The bonds of a train of these extents: the least of the rule and what the extents on either side allow.
/// Returns d - 1 of them.
std::vector<Index> bonds_of(const std::vector<Index>& extents, Index bond_dimension);

/// Truncated singular value decompositions from left to right. Every bond has the dimension of `bonds_of`, or fewer if the
/// error allows. The root of a singular value goes to either side of its bond, so that no core is much larger than others.
/// Error at most sqrt(d - 1) times that of the best train of those bonds.
///
/// tensor: all elements, the last extent fastest; taken over. Oseledets, Tensor-train decomposition, 2011, algorithm 1.
TensorTrain tt_svd(Matrix<double> tensor, const std::vector<Index>& extents, const BondRule& rule);

}  // namespace kronlab::decompositions
