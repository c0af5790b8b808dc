#include "framework/kernels/elementwise.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/vector_math.hpp"

namespace kronlab::kernels {
namespace {

void expect_same_shape(ConstTensorView a, ConstTensorView b) {
  KRONLAB_EXPECTS(a.rows == b.rows && a.cols == b.cols, "shapes [{}, {}] and [{}, {}] differ", a.rows, a.cols, b.rows,
                  b.cols);
}

void expect_row_of(ConstTensorView row, ConstTensorView x) {
  KRONLAB_EXPECTS(row.rows == 1 && row.cols == x.cols, "a row of [{}, {}] for [{}, {}]", row.rows, row.cols, x.rows,
                  x.cols);
}

/// Sum of term(j) over a row, in vector lanes of the compute type.
template <class Real, class Term>
Real row_sum(Index cols, Term term) {
  Real sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index j = 0; j < cols; ++j) sum += term(j);
  return sum;
}

constexpr Index strip_size = 256;  // floats of a row that wait on the stack while their type changes

// No `omp simd` on these two: with it g++ 12 gives up on types of two bytes (5 times slower).
template <class T, class Real>
void widen(const T* from, Index count, Real* to) {
  for (Index j = 0; j < count; ++j) to[j] = static_cast<Real>(from[j]);
}

template <class Real, class T>
void narrow(const Real* from, Index count, T* to) {
  for (Index j = 0; j < count; ++j) to[j] = static_cast<T>(from[j]);
}

/// body(strip, first, count) changes strips of a row in place, in the compute type. Values of two bytes are copied to
/// floats and back: g++ vectorises each of the three loops, but not one that widens, computes and narrows.
template <class T, class Body>
void for_strips(T* row, Index cols, Body body) {
  using Real = compute_t<T>;
  if constexpr (std::is_same_v<T, Real>) {
    body(row, Index{0}, cols);
  } else {
    Real strip[strip_size];
    for (Index first = 0; first < cols; first += strip_size) {
      const Index count = std::min(strip_size, cols - first);
      widen(row + first, count, strip);
      body(strip, first, count);
      narrow(strip, count, row + first);
    }
  }
}

/// out[j] = f(j): computed in Real, whatever the type of `out`.
template <class Real, class Out, class Function>
void fill_row(Out* out, Index cols, Function f) {
  if constexpr (std::is_same_v<Out, Real>) {
#pragma omp simd
    for (Index j = 0; j < cols; ++j) out[j] = f(j);
  } else {
    Real strip[strip_size];
    for (Index first = 0; first < cols; first += strip_size) {
      const Index count = std::min(strip_size, cols - first);
#pragma omp simd
      for (Index j = 0; j < count; ++j) strip[j] = f(first + j);
      narrow(strip, count, out + first);
    }
  }
}

template <class Real, class Out>
void layer_norm_rows(ConstMatrixView<Real> x, const float* gain, const float* bias, double epsilon, MatrixView<Out> y) {
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < x.rows; ++i) {
    const Real* in = &x.data[i * x.stride];
    Out* out = &y.data[i * y.stride];
    const Real mean = row_sum<Real>(x.cols, [&](Index j) { return in[j]; }) / static_cast<Real>(x.cols);
    const Real variance =
        row_sum<Real>(x.cols, [&](Index j) { return (in[j] - mean) * (in[j] - mean); }) / static_cast<Real>(x.cols);
    const Real scale = Real{1} / std::sqrt(variance + static_cast<Real>(epsilon));
    fill_row<Real>(out, x.cols, [=](Index j) { return (in[j] - mean) * scale * gain[j] + bias[j]; });
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
    fill_row<Real>(out, x.cols, [=](Index j) { return in[j] * scale * gain[j]; });
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
      for_strips(&values.data[i * values.stride], x.cols, [&](Real* strip, Index first, Index count) {
#pragma omp simd
        for (Index j = 0; j < count; ++j) strip[j] = f(strip[j], i, first + j);
      });
    }
  });
}

/// (low, high) turned by the angles of `cosine` and `sine`.
template <class Real>
void rotate_pairs(Index count, const Real* cosine, const Real* sine, Real* low, Real* high) {
#pragma omp simd
  for (Index j = 0; j < count; ++j) {
    const Real a = low[j], b = high[j];
    low[j] = a * cosine[j] - b * sine[j];
    high[j] = b * cosine[j] + a * sine[j];
  }
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
    const auto g = gate.as<T>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < gate.rows; ++i) {
      for_strips(&g.data[i * g.stride], gate.cols, [&](Real* strip, Index first, Index count) {
        const T* factors = &u.data[i * u.stride + first];
        const auto times = [=](const Real* factor) {
#pragma omp simd
          for (Index j = 0; j < count; ++j) strip[j] = strip[j] / (Real{1} + exponential(-strip[j])) * factor[j];
        };
        if constexpr (std::is_same_v<T, Real>) {
          times(factors);
        } else {
          Real wide[strip_size];
          widen(factors, count, wide);
          times(wide);
        }
      });
    }
  });
}

void add_positions(ConstTensorView table, Index length, TensorView x) {
  KRONLAB_EXPECTS(table.cols == x.cols && table.rows >= length && length > 0,
                  "positions [{}, {}] for {} tokens of [{}, {}]", table.rows, table.cols, length, x.rows, x.cols);
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
        const double angle =
            static_cast<double>(t) * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
        values(t, i) = static_cast<T>(static_cast<compute_t<T>>(std::cos(angle)));
        values(t, half + i) = static_cast<T>(static_cast<compute_t<T>>(std::sin(angle)));
      }
    }
  });
  return table;
}

void rotate_heads(ConstTensorView table, Index head_dim, Index length, TensorView x) {
  KRONLAB_EXPECTS(table.cols == head_dim && table.rows >= length && length > 0 && x.cols % head_dim == 0,
                  "rotary table [{}, {}] for {} tokens of heads of {} in {} columns", table.rows, table.cols, length,
                  head_dim, x.cols);
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
        if constexpr (std::is_same_v<T, Real>) {
          rotate_pairs(half, cosine, sine, low, high);
        } else {
          for (Index first = 0; first < half; first += strip_size) {
            const Index count = std::min(strip_size, half - first);
            Real low_wide[strip_size], high_wide[strip_size];
            widen(low + first, count, low_wide);
            widen(high + first, count, high_wide);
            rotate_pairs(count, cosine + first, sine + first, low_wide, high_wide);
            narrow(low_wide, count, low + first);
            narrow(high_wide, count, high + first);
          }
        }
      }
    }
  });
}

}  // namespace kronlab::kernels
