#pragma once

#include <cmath>

#include "framework/base/random.hpp"
#include "framework/tensor/tensor.hpp"

namespace kronlab::testing {

/// Standard normal entries, f32, of any shape.
inline Tensor random_tensor(std::vector<Index> shape, RandomStream random) {
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.values<float>()) value = static_cast<float>(random.normal());
  return tensor;
}

inline Matrix<double> random_matrix(Index rows, Index cols, RandomStream random) {
  Matrix<double> matrix(rows, cols);
  for (Index i = 0; i < matrix.size(); ++i) matrix.data()[i] = random.normal();
  return matrix;
}

/// |a - b|_F / |b|_F.
inline double relative_difference(ConstTensorView a, ConstTensorView b) {
  const auto x = to_matrix<double>(a), y = to_matrix<double>(b);
  double difference = 0, norm = 0;
  for (Index i = 0; i < x.size(); ++i) {
    difference += (x.data()[i] - y.data()[i]) * (x.data()[i] - y.data()[i]);
    norm += y.data()[i] * y.data()[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

}  // namespace kronlab::testing
