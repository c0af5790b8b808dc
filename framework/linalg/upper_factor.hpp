#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab::linalg {

/// R with R R^T = H, upper triangular, for a symmetric positive definite H: [n, n]. It is Cholesky's factor when the
/// last variable is eliminated first; its inverse U has U^T U = H^-1, so that no inverse of H is needed to have its
/// factor.
///
/// Time n^3 / 3 operations, in blocks by gemm(); bit-equal for any number of threads.
/// @throws DataError if H is not positive definite, or a number is not finite
Matrix<double> upper_factor(Matrix<double> h);

/// R^-1, upper triangular (LAPACK dtrtri).  r: [n, n], upper triangular with a diagonal that is not zero
Matrix<double> inverse_of_upper(ConstMatrixView<double> r);

}  // namespace kronlab::linalg
