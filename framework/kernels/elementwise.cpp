#include "framework/kernels/elementwise.hpp"

#include <cmath>
#include <vector>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/vector_math.hpp"

namespace kronlab::kernels {
namespace {

void expect_same_shape(ConstTensorView a, ConstTensorView b) {
  KRONLAB_EXPECTS(a.rows == b.rows && a.cols == b.cols, "shapes [{}, {}] and [{}, {}] differ", a.rows, a.cols, b.rows, b.cols);
}

void expect_row_of(ConstTensorView row, ConstTensorView x) {
  KRONLAB_EXPECTS(row.rows == 1 && row.cols == x.cols, "a row of [{}, {}] for [{}, {}]", row.rows, row.cols, x.rows, x.cols);
}

/// Sum of term(j) over a row, in vector lanes of the compute type.
template <class Real, class Term>
Real row_sum(Index cols, Term term) {
  Real sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index j = 0; j < cols; ++j) sum += term(j);
  return sum;
}

template <class Real, class Out>
void layer_norm_rows(ConstMatrixView<Real> x, const float* gain, const float* bias, double epsilon, MatrixView<Out> y) {
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < x.rows; ++i) {
    const Real* in = &x.data[i * x.stride];
    Out* out = &y.data[i * y.stride];
    const Real mean = row_sum<Real>(x.cols, [&](Index j) { return in[j]; }) / static_cast<Real>(x.cols);
    const Real variance = row_sum<Real>(x.cols, [&](Index j) { return (in[j] - mean) * (in[j] - mean); }) / static_cast<Real>(x.cols);
    const Real scale = Real{1} / std::sqrt(variance + static_cast<Real>(epsilon));
#pragma omp simd
    for (Index j = 0; j < x.cols; ++j) out[j] = static_cast<Out>((in[j] - mean) * scale * gain[j] + bias[j]);
  }
}

template <class Real, class Out>
void rms_norm_rows(ConstMatrixView<Real> x, const float* gain, double epsilon, MatrixView<Out> y) {
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < x.rows; ++i) {
    const Real* in = &x.data[i * x.stride];
    Out* out = &y.data[i * y.stride];
    const Real mean_square = row_sum<Real>(x.cols, [&](Index j) { return in[j] * in[j]; }) / static_cast<Real>(x.cols);
    const Real scale = Real{1} / std::sqrt(mean_square + static_cast<Real>(epsilon));
#pragma omp simd
    for (Index j = 0; j < x.cols; ++j) out[j] = static_cast<Out>(in[j] * scale * gain[j]);
  }
}

/// body(in, out) with x in its compute type and y in its own type.
template <class Body>
void for_norm_types(ConstTensorView x, TensorView y, Body body) {
  if (x.dtype == DType::f64) return body(x.as<double>(), y.as<double>());
  if (y.dtype == DType::bf16) return body(x.as<float>(), y.as<bfloat16>());
  body(x.as<float>(), y.as<float>());
}

/// x[i, j] = f(x[i, j], i, j) for every element, computed in float or double.
template <class Function>
void transform(TensorView x, Function f) {
  for_activation_type(x.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto values = x.as<T>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < x.rows; ++i) {
      T* row = &values.data[i * values.stride];
#pragma omp simd
      for (Index j = 0; j < x.cols; ++j) row[j] = static_cast<T>(f(static_cast<Real>(row[j]), i, j));
    }
  });
}

}  // namespace

void layer_norm(ConstTensorView x, ConstTensorView gain, ConstTensorView bias, double epsilon, TensorView y) {
  expect_same_shape(x, y);
  expect_row_of(gain, x);
  expect_row_of(bias, x);
  for_norm_types(x, y, [&](auto in, auto out) {
    layer_norm_rows(in, gain.as<float>().data, bias.as<float>().data, epsilon, out);
  });
}

void rms_norm(ConstTensorView x, ConstTensorView gain, double epsilon, TensorView y) {
  expect_same_shape(x, y);
  expect_row_of(gain, x);
  for_norm_types(x, y, [&](auto in, auto out) { rms_norm_rows(in, gain.as<float>().data, epsilon, out); });
}

void add_bias(ConstTensorView bias, TensorView x) {
  expect_row_of(bias, x);
  const float* b = bias.as<float>().data;
  transform(x, [b](auto value, Index, Index j) { return value + b[j]; });
}

void gelu(ConstTensorView bias, TensorView x) {
  const std::vector<float> zeros(bias.cols == 0 ? static_cast<std::size_t>(x.cols) : 0);
  if (bias.cols != 0) expect_row_of(bias, x);
  const float* b = bias.cols == 0 ? zeros.data() : bias.as<float>().data;
  transform(x, [b](auto value, Index, Index j) {
    using Real = decltype(value);
    const Real u = value + b[j];
    const Real inner = static_cast<Real>(0.79788456080286535588) * (u + static_cast<Real>(0.044715) * u * u * u);
    return static_cast<Real>(0.5) * u * (Real{1} + hyperbolic_tangent(inner));
  });
}

void silu_times(ConstTensorView up, TensorView gate) {
  expect_same_shape(up, gate);
  for_activation_type(gate.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto u = up.as<T>();
    transform(gate, [u](auto value, Index i, Index j) {
      return value / (Real{1} + exponential(-value)) * static_cast<Real>(u.data[i * u.stride + j]);
    });
  });
}

void add_positions(ConstTensorView table, Index length, TensorView x) {
  KRONLAB_EXPECTS(table.cols == x.cols && table.rows >= length && length > 0, "positions [{}, {}] for {} tokens of [{}, {}]",
                  table.rows, table.cols, length, x.rows, x.cols);
  const auto positions = table.as<float>();
  transform(x, [positions, length](auto value, Index i, Index j) {
    return value + positions.data[(i % length) * positions.stride + j];
  });
}

Tensor rotary_table(Index length, Index head_dim, double theta, DType dtype) {
  KRONLAB_EXPECTS(head_dim % 2 == 0, "rotary embeddings need an even head dimension, found {}", head_dim);
  Tensor table = Tensor::uninitialised(dtype, {length, head_dim});
  const Index half = head_dim / 2;
  for_activation_type(dtype, [&]<class T>(T) {
    const auto values = table.matrix<T>();
#pragma omp parallel for schedule(static)
    for (Index t = 0; t < length; ++t) {
      for (Index i = 0; i < half; ++i) {
        const double angle = static_cast<double>(t) * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
        values(t, i) = static_cast<T>(static_cast<compute_t<T>>(std::cos(angle)));
        values(t, half + i) = static_cast<T>(static_cast<compute_t<T>>(std::sin(angle)));
      }
    }
  });
  return table;
}

void rotate_heads(ConstTensorView table, Index head_dim, Index length, TensorView x) {
  KRONLAB_EXPECTS(table.cols == head_dim && table.rows >= length && length > 0 && x.cols % head_dim == 0,
                  "rotary table [{}, {}] for {} tokens of heads of {} in {} columns", table.rows, table.cols, length, head_dim, x.cols);
  const Index half = head_dim / 2;
  for_activation_type(x.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto values = x.as<T>();
    const auto angles = table.as<Real>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < x.rows; ++i) {
      const Real* cosine = &angles.data[(i % length) * angles.stride];
      const Real* sine = cosine + half;
      for (Index head = 0; head < x.cols; head += head_dim) {
        T* low = &values.data[i * values.stride + head];
        T* high = low + half;
#pragma omp simd
        for (Index j = 0; j < half; ++j) {
          const Real a = static_cast<Real>(low[j]), b = static_cast<Real>(high[j]);
          low[j] = static_cast<T>(a * cosine[j] - b * sine[j]);
          high[j] = static_cast<T>(b * cosine[j] + a * sine[j]);
        }
      }
    }
  });
}

}  // namespace kronlab::kernels
