#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// Calls body(T{}) with the C++ type of an activation dtype: float, double or bfloat16.
template <class Body>
void for_activation_type(DType dtype, Body body) {
  switch (dtype) {
    case DType::f32: return body(float{});
    case DType::f64: return body(double{});
    case DType::bf16: return body(bfloat16{});
    default: KRONLAB_EXPECTS(false, "activations of type {}", to_string(dtype));
  }
}

/// Calls body(T{}) with the C++ type of parameters, gradients and logits: double for f64, else float.
template <class Body>
void for_real_type(DType dtype, Body body) {
  dtype == DType::f64 ? body(double{}) : body(float{});
}

/// The type in which values of type T are computed with: double for double, else float.
template <class T>
struct Compute {
  using type = float;
};
template <>
struct Compute<double> {
  using type = double;
};
template <class T>
using compute_t = typename Compute<T>::type;

}  // namespace kronlab::kernels
