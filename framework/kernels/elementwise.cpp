#include "framework/kernels/elementwise.hpp"

#include <cmath>
#include <type_traits>

#include "framework/kernels/row_loops.hpp"
#include "framework/kernels/vector_math.hpp"

namespace kronlab::kernels {
namespace {

/// out[j] = f(j): computed in Real, whatever the type of `out`.
template <class Out, class Function>
void fill_row(Out* out, Index cols, Function f) {
  StripWriter<Out> writer;
  for_strips(cols, [&](Index first, Index count) {
    auto* strip = writer(out + first);
#pragma omp simd
    for (Index j = 0; j < count; ++j) strip[j] = f(first + j);
    writer.store(out + first, count);
  });
}

template <class Real, class Out>
void layer_norm_rows(ConstMatrixView<Real> x, const Real* gain, const Real* bias, double epsilon, MatrixView<Out> y) {
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < x.rows; ++i) {
    const Real* in = &x.data[i * x.stride];
    Out* out = &y.data[i * y.stride];
    const Real mean = row_sum<Real>(
                          x.cols, [](auto value) { return value; }, in) /
                      static_cast<Real>(x.cols);
    const Real variance = row_sum<Real>(
                              x.cols, [mean](auto value) { return (value - mean) * (value - mean); }, in) /
                          static_cast<Real>(x.cols);
    const Real scale = Real{1} / std::sqrt(variance + static_cast<Real>(epsilon));
    fill_row(out, x.cols, [=](Index j) { return (in[j] - mean) * scale * gain[j] + bias[j]; });
  }
}

template <class Real, class Out>
void rms_norm_rows(ConstMatrixView<Real> x, const Real* gain, double epsilon, MatrixView<Out> y) {
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < x.rows; ++i) {
    const Real* in = &x.data[i * x.stride];
    Out* out = &y.data[i * y.stride];
    const Real mean_square = row_sum<Real>(
                                 x.cols, [](auto value) { return value * value; }, in) /
                             static_cast<Real>(x.cols);
    const Real scale = Real{1} / std::sqrt(mean_square + static_cast<Real>(epsilon));
    fill_row(out, x.cols, [=](Index j) { return in[j] * scale * gain[j]; });
  }
}

/// body(in, out) with x in its compute type and y in its own type.
template <class Body>
void for_norm_types(ConstTensorView x, TensorView y, Body body) {
  if (x.dtype == DType::f64) return body(x.as<double>(), y.as<double>());
  if (y.dtype == DType::bf16) return body(x.as<float>(), y.as<bfloat16>());
  body(x.as<float>(), y.as<float>());
}

/// y[i, j] = f(x[i, j], i, j) for every element, computed in float or double; y may be x.
template <class T, class Function>
void transform(ConstTensorView x, TensorView y, Function f) {
  const auto in = x.as<T>();
  const auto out = y.as<T>();
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < x.rows; ++i) {
    StripReader<T> reader;
    StripWriter<T> writer;
    for_strips(x.cols, [&](Index first, Index count) {
      const auto* from = reader(&in.data[i * in.stride + first], count);
      auto* to = writer(&out.data[i * out.stride + first]);
#pragma omp simd
      for (Index j = 0; j < count; ++j) to[j] = f(from[j], i, first + j);
      writer.store(&out.data[i * out.stride + first], count);
    });
  }
}

/// (low, high) turned by the angles of `cosine` and `sine`, or by their negatives with a sign of -1.
template <class Real>
void rotate_pairs(Index count, const Real* cosine, const Real* sine, Real sign, Real* low, Real* high) {
#pragma omp simd
  for (Index j = 0; j < count; ++j) {
    const Real a = low[j], b = high[j], s = sign * sine[j];
    low[j] = a * cosine[j] - b * s;
    high[j] = b * cosine[j] + a * s;
  }
}

}  // namespace

void layer_norm(ConstTensorView x, ConstTensorView gain, ConstTensorView bias, double epsilon, TensorView y) {
  expect_same_shape(x, y);
  expect_row_of(gain, x);
  expect_row_of(bias, x);
  for_norm_types(x, y, [&]<class Real, class Out>(ConstMatrixView<Real> in, MatrixView<Out> out) {
    const ParameterRow<Real> g(gain, x.cols), b(bias, x.cols);
    layer_norm_rows(in, g.data(), b.data(), epsilon, out);
  });
}

void rms_norm(ConstTensorView x, ConstTensorView gain, double epsilon, TensorView y) {
  expect_same_shape(x, y);
  expect_row_of(gain, x);
  for_norm_types(x, y, [&]<class Real, class Out>(ConstMatrixView<Real> in, MatrixView<Out> out) {
    const ParameterRow<Real> g(gain, x.cols);
    rms_norm_rows(in, g.data(), epsilon, out);
  });
}

void add_bias(ConstTensorView bias, TensorView x) {
  expect_row_of(bias, x);
  for_activation_type(x.dtype, [&]<class T>(T) {
    const ParameterRow<compute_t<T>> row(bias, x.cols);
    transform<T>(x, x, [b = row.data()](auto value, Index, Index j) { return value + b[j]; });
  });
}

void add(ConstTensorView x, TensorView y) {
  expect_same_shape(x, y);
  KRONLAB_EXPECTS(x.dtype == y.dtype, "{} added to {}", to_string(x.dtype), to_string(y.dtype));
  for_activation_type(x.dtype, [&]<class T>(T) {
    transform<T>(y, y, [in = x.as<T>()](auto value, Index i, Index j) { return value + static_cast<decltype(value)>(in.data[i * in.stride + j]); });
  });
}

void scale_columns(ConstTensorView scales, ConstTensorView x, TensorView y, bool add) {
  expect_same_shape(x, y);
  expect_row_of(scales, x);
  const auto scale = [&]<class In, class Out>(ConstMatrixView<In> in, MatrixView<Out> out) {
    using Real = compute_t<Out>;
    const Matrix<Real> row = to_matrix<Real>(scales);
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < in.rows; ++i) {
      StripReader<In> reader;
      StripReader<Out> present;
      StripWriter<Out> writer;
      for_strips(in.cols, [&](Index first, Index count) {
        const Real *from = reader(&in.data[i * in.stride + first], count), *c = row.data() + first;
        Out* target = &out.data[i * out.stride + first];
        Real* to = writer(target);
        if (add) {
          const Real* before = present(target, count);
#pragma omp simd
          for (Index j = 0; j < count; ++j) to[j] = before[j] + from[j] * c[j];
        } else {
#pragma omp simd
          for (Index j = 0; j < count; ++j) to[j] = from[j] * c[j];
        }
        writer.store(target, count);
      });
    }
  };
  if (x.dtype == DType::bf16 && y.dtype == DType::f32) return scale(x.as<bfloat16>(), y.as<float>());
  for_activation_type(x.dtype, [&]<class T>(T) { scale(x.as<T>(), y.as<T>()); });
}

void scale_rows(ConstTensorView scales, TensorView x) {
  KRONLAB_EXPECTS(scales.rows == 1 && scales.cols == x.rows, "{} scales for {} rows", scales.cols, x.rows);
  for_activation_type(x.dtype, [&]<class T>(T) {
    const Matrix<compute_t<T>> row = to_matrix<compute_t<T>>(scales);
    transform<T>(x, x, [s = row.data()](auto value, Index i, Index) { return value * s[i]; });
  });
}

void gelu(ConstTensorView bias, ConstTensorView x, TensorView y) {
  expect_same_shape(x, y);
  if (bias.cols != 0) expect_row_of(bias, x);
  for_activation_type(x.dtype, [&]<class T>(T) {
    const ParameterRow<compute_t<T>> row(bias, x.cols);
    transform<T>(x, y, [b = row.data()](auto value, Index, Index j) { return gelu_of(value + b[j]).y; });
  });
}

void gelu(ConstTensorView bias, TensorView x) { gelu(bias, x, x); }

void silu_times(ConstTensorView up, ConstTensorView gate, TensorView y) {
  expect_same_shape(up, gate);
  expect_same_shape(gate, y);
  for_activation_type(gate.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto u = up.as<T>(), g = gate.as<T>();
    const auto out = y.as<T>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < gate.rows; ++i) {
      StripReader<T> read_up, read_gate;
      StripWriter<T> writer;
      for_strips(gate.cols, [&](Index first, Index count) {
        const Real* factor = read_up(&u.data[i * u.stride + first], count);
        const Real* x = read_gate(&g.data[i * g.stride + first], count);
        Real* to = writer(&out.data[i * out.stride + first]);
#pragma omp simd
        for (Index j = 0; j < count; ++j) to[j] = x[j] / (Real{1} + exponential(-x[j])) * factor[j];
        writer.store(&out.data[i * out.stride + first], count);
      });
    }
  });
}

void silu_times(ConstTensorView up, TensorView gate) { silu_times(up, gate, gate); }

void add_positions(ConstTensorView table, Index length, TensorView x) {
  KRONLAB_EXPECTS(table.cols == x.cols && table.rows >= length && length > 0,
                  "positions [{}, {}] for {} tokens of [{}, {}]", table.rows, table.cols, length, x.rows, x.cols);
  for_activation_type(x.dtype, [&]<class T>(T) {
    const auto add = [&](auto positions) {
      transform<T>(x, x, [positions, length](auto value, Index i, Index j) {
        return value + static_cast<decltype(value)>(positions.data[(i % length) * positions.stride + j]);
      });
    };
    if (std::is_same_v<T, double> && table.dtype == DType::f64) return add(table.as<double>());
    add(table.as<float>());
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

void rotate_heads(ConstTensorView table, Index head_dim, Index length, TensorView x, Turn turn) {
  KRONLAB_EXPECTS(table.cols == head_dim && table.rows >= length && length > 0 && x.cols % head_dim == 0,
                  "rotary table [{}, {}] for {} tokens of heads of {} in {} columns", table.rows, table.cols, length,
                  head_dim, x.cols);
  const Index half = head_dim / 2;
  for_activation_type(x.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto values = x.as<T>();
    const auto angles = table.as<Real>();
    const Real sign = turn == Turn::forth ? Real{1} : Real{-1};
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < x.rows; ++i) {
      const Real* cosine = &angles.data[(i % length) * angles.stride];
      const Real* sine = cosine + half;
      for (Index head = 0; head < x.cols; head += head_dim) {
        T* low = &values.data[i * values.stride + head];
        T* high = low + half;
        if constexpr (std::is_same_v<T, Real>) {
          rotate_pairs(half, cosine, sine, sign, low, high);
        } else {
          for (Index first = 0; first < half; first += strip_size) {
            const Index count = std::min(strip_size, half - first);
            Real low_wide[strip_size], high_wide[strip_size];
            widen(low + first, count, low_wide);
            widen(high + first, count, high_wide);
            rotate_pairs(count, cosine + first, sine + first, sign, low_wide, high_wide);
            narrow(low_wide, count, low + first);
            narrow(high_wide, count, high + first);
          }
        }
      }
    }
  });
}

}  // namespace kronlab::kernels
