#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab::testing {

inline constexpr double difference_step = 0x1p-10;

/// dL/dx by central differences of fourth order; `loss()` reads x.
/// Errors: h^4 / 30 of the fifth derivative, and u |L| / h of rounding: 1e-12 for losses and derivatives near 1.
template <class Loss>
Matrix<double> central_differences(Matrix<double>& x, Loss loss) {
  Matrix<double> gradient(x.rows(), x.cols());
  for (Index i = 0; i < x.size(); ++i) {
    const double middle = x.data()[i];
    const auto at = [&](double steps) {
      x.data()[i] = middle + steps * difference_step;
      return loss();
    };
    gradient.data()[i] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * difference_step);
    x.data()[i] = middle;
  }
  return gradient;
}

/// Bound of |g - g^|_F / |g|_F for such differences of losses that are sums of some hundred terms near 1, whose fifth
/// derivatives may be a hundred times their first.
inline constexpr double difference_bound =
    100 * difference_step * difference_step * difference_step * difference_step + 100 * 0x1p-53 / difference_step;

/// sum_ij weights[i, j] y[i, j]: a loss whose gradient in y is `weights`.
inline double weighted_sum(const Matrix<double>& weights, const Matrix<double>& y) {
  double sum = 0;
  for (Index i = 0; i < y.size(); ++i) sum += weights.data()[i] * y.data()[i];
  return sum;
}

}  // namespace kronlab::testing
