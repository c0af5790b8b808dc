#pragma once

#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::linalg {

/// The leading part of A = U diag(s) V^T: u [m, k], vt [k, n], the singular values that the solver found (at least k).
struct Svd {
  Matrix<double> u;
  std::vector<double> singular_values;  ///< descending
  Matrix<double> vt;
};

/// The k leading singular triples, directly (LAPACK dgesdd), or through the Gram matrix of the short side where that
/// side has at most 64: singular values below 1e-8 of the largest then are noise, which truncation does not see.
///
/// Time O(m n min(m, n)). Deterministic: one thread. @pre 1 <= k <= min(m, n) @throws DataError if A is not finite
Svd truncated_svd(ConstMatrixView<double> a, Index k);

/// All eigenvalues, ascending, and eigenvectors as rows, of a symmetric matrix (LAPACK dsyevd). g: [n, n]
struct SymmetricEigen {
  std::vector<double> values;
  Matrix<double> vectors;  ///< [n, n], row i belongs to values[i]
};
SymmetricEigen symmetric_eigen(ConstMatrixView<double> g);

/// L with L L^T = C + damping * mean(diag C) * I, lower triangular, [n, n].
/// @throws DataError if that is not positive definite, with the advice to damp more
Matrix<double> damped_cholesky(ConstMatrixView<double> c, double damping);

/// X with X L = B for a lower triangular L: B is replaced by B L^-1.  b: [m, n], l: [n, n]
void solve_right_lower(ConstMatrixView<double> l, MatrixView<double> b);

}  // namespace kronlab::linalg
