#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/base/types.hpp"
#include "framework/kernels/vector_math.hpp"

namespace kronlab::kernels {

inline constexpr Index strip = 1024;  // elements whose sum is taken in vector lanes before it is added in double

/// Sum of term(j) over a row: lanes within a strip, double between strips.
template <class Real, class Term>
double strip_sum(Index count, Term term) {
  double total = 0;
  for (Index first = 0; first < count; first += strip) {
    const Index last = std::min(first + strip, count);
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index j = first; j < last; ++j) sum += term(j);
    total += static_cast<double>(sum);
  }
  return total;
}

/// log Σ exp(inverse_temperature * row).
template <class Real>
double log_sum_exp(Index count, const Real* row, Real inverse_temperature) {
  Real largest = -std::numeric_limits<Real>::infinity();
#pragma omp simd reduction(max : largest)
  for (Index j = 0; j < count; ++j) largest = std::max(largest, row[j]);
  const double sum = strip_sum<Real>(count, [=](Index j) { return exponential((row[j] - largest) * inverse_temperature); });
  return static_cast<double>(largest * inverse_temperature) + std::log(sum);
}

}  // namespace kronlab::kernels
