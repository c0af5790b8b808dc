#pragma once

#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::decompositions {

/// What is added to the diagonal of second moments, in parts of its mean: those of real models have eigenvalues from 600
/// down to 1e-6 times the mean.
struct Damping {
  double inputs = 1e-3;
  double gradient = 0.1;
};

/// moments: [n, n], or their diagonal alone [1, n]
double mean_diagonal(const Matrix<double>& moments);
/// sqrt(M_ii + damping mean(diag M)), negative moments taken as 0; ones where all are zero: [n]
std::vector<double> root_scales(const Matrix<double>& moments, double damping);

}  // namespace kronlab::decompositions
