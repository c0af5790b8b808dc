#include "decompositions/moment_scales.hpp"

#include <algorithm>
#include <cmath>

namespace kronlab::decompositions {
namespace {

double diagonal(const Matrix<double>& moments, Index i) { return moments(moments.rows() == 1 ? 0 : i, i); }

}  // namespace

double mean_diagonal(const Matrix<double>& moments) {
  double sum = 0;
  for (Index i = 0; i < moments.cols(); ++i) sum += diagonal(moments, i);
  return sum / static_cast<double>(moments.cols());
}

std::vector<double> root_scales(const Matrix<double>& moments, double damping) {
  const double floor = damping * mean_diagonal(moments);
  std::vector<double> scales;
  for (Index i = 0; i < moments.cols(); ++i) {
    const double damped = std::max(diagonal(moments, i), 0.0) + floor;
    scales.push_back(damped > 0 ? std::sqrt(damped) : 1.0);
  }
  return scales;
}

}  // namespace kronlab::decompositions
