#pragma once

#include <cmath>

#include "tests/support/random_matrix.hpp"
#include "tests/support/reference.hpp"

namespace kronlab::testing {

inline constexpr DType activation_types[] = {DType::f32, DType::f64, DType::bf16};

/// A matrix whose rows lie farther apart than they are long, as the views that models hand to kernels.
class Strided {
 public:
  Strided(DType dtype, Index rows, Index cols) : whole_(dtype, {rows, cols + 3}), rows_(rows), cols_(cols) {}
  /// Holds these values, rounded to `dtype`.
  Strided(DType dtype, const Matrix<double>& values) : Strided(dtype, values.rows(), values.cols()) {
    convert(values.view(), view());
  }

  TensorView view() { return whole_.view().block(0, 1, rows_, cols_); }
  Matrix<double> values() { return to_matrix<double>(view()); }
  /// Whether the elements beside the view are still zero.
  bool is_untouched_outside() {
    const auto all = to_matrix<double>(whole_.view());
    for (Index i = 0; i < rows_; ++i) {
      if (all(i, 0) != 0 || all(i, cols_ + 1) != 0 || all(i, cols_ + 2) != 0) return false;
    }
    return true;
  }

 private:
  Tensor whole_;
  Index rows_, cols_;
};

/// Bound of |y - y^|_F / |y|_F for results that are sums of `num_terms` products, computed in float32 (double for f64)
/// and rounded to `dtype`: the terms' errors are independent and add to some sqrt(num_terms) u; the constants are for
/// the few operations beside the sum, among them e^x with an error of 5 u in float32. Rounding to bf16, a significand
/// of 8 bits, adds 2^-8.
inline double bound(DType dtype, Index num_terms) {
  const double u = dtype == DType::f64 ? 0x1p-53 : 0x1p-24;
  return (12 + 4 * std::sqrt(static_cast<double>(num_terms))) * u + (dtype == DType::bf16 ? 0x1p-8 : 0.0);
}

/// |found - expected|_F / |expected|_F, or |found|_F where nothing is expected.
inline double error_of(const Matrix<double>& found, const Matrix<double>& expected) {
  return relative_difference(found.view(), expected.view());
}

inline Matrix<double> absolute(Matrix<double> values) {
  for (Index i = 0; i < values.size(); ++i) values.data()[i] = std::abs(values.data()[i]);
  return values;
}

/// |found - expected|_F / |sizes|_F.
inline double error_against(const Matrix<double>& sizes, const Matrix<double>& found, const Matrix<double>& expected) {
  const Matrix<double> zero(sizes.rows(), sizes.cols());
  return error_of(found, expected) * error_of(expected, zero) / error_of(sizes, zero);
}

}  // namespace kronlab::testing
