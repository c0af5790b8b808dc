#pragma once
#include <cmath>
#include <span>
#include "framework/tensor/tensor.hpp"
namespace kronlab::kernels {
struct AdamWStep { double rate, beta1, beta2, epsilon, weight_decay; Index step; double gradient_scale; };
template <class T> void adamw(const AdamWStep& s, std::span<T> value, std::span<const T> gradient, std::span<T> first, std::span<T> second) {
  const double bc1 = 1 - std::pow(s.beta1, s.step), bc2 = std::sqrt(1 - std::pow(s.beta2, s.step));
  for (std::size_t i = 0; i < value.size(); ++i) {
    const double g = gradient[i] * s.gradient_scale;
    first[i] = first[i] * s.beta1 + (1 - s.beta1) * g;
    second[i] = second[i] * s.beta2 + (1 - s.beta2) * g * g;
    value[i] = value[i] * (1 - s.rate * s.weight_decay) - s.rate / bc1 * first[i] / (std::sqrt(second[i]) / bc2 + s.epsilon);
  }
}
}
