#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "decompositions/decomposer.hpp"

namespace kronlab::decompositions {

/// How an MPO sees the weights that errors have. Nine MLP matrices of SmolLM2-135M at 30 % of the parameters, three sites,
/// mean weighted error: none 0.775, diagonal 0.707, separable 0.714 (two sites: 0.718, 0.662, 0.676).
enum class Whitening {
  diagonal,   ///< rows and columns times the roots of their moments: the result is Scaled, back to W
  separable,  ///< moments as a Kronecker product over the sites, of their partial traces: goes back into the cores
};

/// A matrix-product operator by TT-SVD (mpo.hpp, tt_svd.hpp).
///
///   W: [m_0 m_1 ..., n_0 n_1 ...]    core k: [r_k, m_k, n_k, r_(k+1)]
///
/// One bond dimension for all bonds, less where what lies on either side of a bond allows no more. Factors that are not
/// given are as equal as they can be, those of the rows rising and those of the columns falling, so that sites are about
/// equally large.
///
/// A permutation search in front of it sees the Kronecker sum of the last site, or of groups within it. Nine attention
/// matrices of GPT-2 at 30 % of the parameters, swap descent, mean relative error: two sites 0.724 -> 0.690, three
/// 0.763 -> 0.726, four 0.728 -> 0.693; one matrix (19 to 33 % lower) makes 75, 42 and 71 % of that, the others fall by 1 to 6 %. Truncated
/// SVD: 0.621.
///
/// CompactifAI: Tomut et al., 2401.14109; weighted by the diagonal, as AWT does.
struct MpoOptions {
  std::vector<Index> row_factors;  ///< m_k; empty: automatic
  std::vector<Index> col_factors;  ///< n_k; empty: automatic
  std::optional<Index> num_sites = {};  ///< of automatic factors; 3 where nothing says otherwise
  std::optional<Index> bond_dimension = {};
  std::optional<double> keep = {};  ///< or the share of the weight's parameters that stays, at most
  /// Or the relative error of all truncations together, of the weighted matrix where there are weights: then each bond is
  /// as small as that allows, and the others are bounds. The size is known afterwards, its bound beforehand.
  std::optional<double> truncation_error = {};
  Weighting weighting = Weighting::none;
  Whitening whitening = Whitening::diagonal;
  double damping = 1e-3;          ///< of C, in parts of its mean diagonal, where moments are used
  double gradient_damping = 0.1;  ///< of S, where two-sided
};
std::unique_ptr<Decomposer> make_mpo_decomposer(const MpoOptions& options);

}  // namespace kronlab::decompositions
