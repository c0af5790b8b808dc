#pragma once

#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::linalg {

/// How a truncated SVD was found.
enum class SvdMethod {
  direct,   ///< LAPACK dgesdd: every singular value right to about eps of the largest
  gram,     ///< eigenvectors of the Gram matrix of the short side
  lanczos,  ///< block Golub-Kahan-Lanczos for a few triples of a large matrix
};

/// The leading part of A = U diag(s) V^T: u [m, k], vt [k, n].
struct Svd {
  Matrix<double> u;
  std::vector<double> singular_values;  ///< descending: all min(m, n) of them, or k by SvdMethod::lanczos
  Matrix<double> vt;
  SvdMethod method = SvdMethod::direct;
  Index num_iterations = 0;  ///< 0 unless by lanczos
  double residual = 0.0;     ///< largest |A^T A v - s^2 v| / s_1^2 where lanczos stopped
};

/// The k leading singular triples, by the fastest method that float32 factors cannot tell from the others.
///
/// direct where the short side has at most 64 and the long one at most 4 times that; lanczos where the short side has
/// at least 512, the long one less than 4 times that, k is at most 1/96 of the short side and it converges; else gram.
///
/// Direct: as LAPACK has it. Otherwise the singular vectors of the short side are orthonormal to rounding and
/// U diag(s) V^T is A projected onto them; s_i^2 is right to about n eps s_1^2 (lanczos: 1e-10 s_1^2), so values below
/// 1e-8 s_1 are noise, which truncation does not see; the vectors of the long side are orthogonal to about
/// eps (s_1 / s_i)^2, of unit length, and zero where s_i is.
///
/// Time O(m n min(m, n)), by lanczos about O(m n k) times the iterations. Deterministic, bit-equal for any number of
/// threads. @pre 1 <= k <= min(m, n) @throws DataError if A is not finite
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

/// X with L^T X = B for a lower triangular L: B is replaced by L^-T B.  b: [m, n], l: [m, m]
void solve_left_transposed_lower(ConstMatrixView<double> l, MatrixView<double> b);

/// X with X N = B for a symmetric positive definite N: B is replaced by B N^-1, N by what is left of it (LAPACK dposv).
/// b: [m, n], n: [n, n], both contiguous. @throws DataError if N is not positive definite, or a number is not finite
void solve_right_positive(Matrix<double>& n, Matrix<double>& b);

}  // namespace kronlab::linalg
