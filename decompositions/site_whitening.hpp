#pragma once

#include <string>
#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::decompositions {

/// Second moments M: [n_0 n_1 ..., n_0 n_1 ...] as far as they are a Kronecker product over sites: M ~ Π_k ⊗ M_k / scale,
/// with M_k: [n_k, n_k] the partial trace of M over the other sites, each with `damping` times its mean diagonal added.
/// Of a product it is that product. It keeps the trace.
///
/// Roots M_k = L_k L_k^T: what is done to one axis of a matrix that has the sites' factors.
class SiteRoots {
 public:
  /// moments: [n, n], or their diagonal alone [1, n]. whose: "layer `h.0`, its inputs"
  /// @throws DataError naming whose if they are not positive definite
  SiteRoots(const Matrix<double>& moments, const std::vector<Index>& factors, double damping, const std::string& whose);

  /// A (L_0 ⊗ L_1 ⊗ ...), in place.  a: [m, n]
  void apply_right(Matrix<double>& a) const;
  /// L_k^-1 from the right on the axis of site k, in place.  core: [outer, n_k, run]
  void solve(std::size_t site, Index outer, Index run, Matrix<double>& core) const;

 private:
  std::vector<Index> factors_;
  std::vector<Matrix<double>> lower_;
};

}  // namespace kronlab::decompositions
