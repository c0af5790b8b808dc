#include "framework/kernels/elementwise_backward.hpp"

#include <omp.h>

#include <cmath>

#include "framework/kernels/row_loops.hpp"
#include "framework/kernels/vector_math.hpp"

namespace kronlab::kernels {
namespace {

/// Sums over rows, in the same sequence for any number of threads: body(first_row, last_row, partial) adds to partial
/// sums [cols] of a range of rows; the ranges depend on the number of rows alone.
template <class Real, class Body>
void add_row_sums(Index rows, Index cols, Body body, std::span<const MatrixView<Real>> totals) {
  constexpr Index min_range = 16, max_ranges = 64;
  const Index range = std::max(min_range, (rows + max_ranges - 1) / max_ranges);
  const Index num_ranges = (rows + range - 1) / range;
  const Index width = cols * static_cast<Index>(totals.size());
  std::vector<Real> partials(static_cast<std::size_t>(num_ranges * width));
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (Index r = 0; r < num_ranges; ++r) {
      body(r * range, std::min(rows, (r + 1) * range), &partials[static_cast<std::size_t>(r * width)]);
    }
#pragma omp for schedule(static)
    for (Index first = 0; first < cols; first += strip_size) {
      const Index count = std::min(strip_size, cols - first);
      for (std::size_t t = 0; t < totals.size(); ++t) {
        if (totals[t].cols == 0) continue;
        Real* total = totals[t].data + first;
        for (Index r = 0; r < num_ranges; ++r) {
          const Real* partial = &partials[static_cast<std::size_t>(r * width + static_cast<Index>(t) * cols + first)];
#pragma omp simd
          for (Index j = 0; j < count; ++j) total[j] += partial[j];
        }
      }
    }
  }
}

enum class Centre { mean, none };

/// The gradient of a norm (layer_norm with its centre at the mean, rms_norm with none). With x^ the normed row before
/// the gain and g = dy * gain: dx += (g - mean(g) - x^ mean(g x^)) / deviation, without mean(g) where there is no
/// centre.
template <Centre centre, class Real, class In>
void norm_backward(ConstMatrixView<Real> x, const Real* gain, double epsilon, ConstMatrixView<In> dy,
                   MatrixView<Real> dx, MatrixView<Real> d_gain, MatrixView<Real> d_bias) {
  const Index cols = x.cols;
  const auto d = static_cast<Real>(cols);
  const auto rows_body = [&](Index first_row, Index last_row, Real* partial) {
    std::vector<Real> wide(static_cast<std::size_t>(std::is_same_v<In, Real> ? 0 : cols));
    for (Index i = first_row; i < last_row; ++i) {
      const Real* in = &x.data[i * x.stride];
      Real* out = &dx.data[i * dx.stride];
      const Real* dout;
      if constexpr (std::is_same_v<In, Real>) {
        dout = &dy.data[i * dy.stride];
      } else {
        widen(&dy.data[i * dy.stride], cols, wide.data());
        dout = wide.data();
      }
      const auto itself = [](auto value) { return value; };
      const Real mean = centre == Centre::mean ? row_sum<Real>(cols, itself, in) / d : Real{0};
      const auto square = [mean](auto value) { return (value - mean) * (value - mean); };
      const Real scale = Real{1} / std::sqrt(row_sum<Real>(cols, square, in) / d + static_cast<Real>(epsilon));
      const auto product = [](auto a, auto b) { return a * b; };
      const Real shift = centre == Centre::mean ? row_sum<Real>(cols, product, dout, gain) / d : Real{0};
      const auto projection = [mean](auto a, auto b, auto value) { return a * b * (value - mean); };
      const Real slope = row_sum<Real>(cols, projection, dout, gain, in) * scale / d;
#pragma omp simd
      for (Index j = 0; j < cols; ++j) {
        const Real normed = (in[j] - mean) * scale;
        out[j] += (dout[j] * gain[j] - shift - normed * slope) * scale;
        partial[j] += dout[j] * normed;
        if constexpr (centre == Centre::mean) partial[cols + j] += dout[j];
      }
    }
  };
  const MatrixView<Real> totals[] = {d_gain, d_bias};
  add_row_sums<Real>(x.rows, cols, rows_body, totals);
}

/// body(x, dy, dx) with the types of a norm's gradient.
template <class Body>
void for_norm_types(ConstTensorView x, ConstTensorView dy, TensorView dx, Body body) {
  if (x.dtype == DType::f64) return body(x.as<double>(), dy.as<double>(), dx.as<double>());
  if (dy.dtype == DType::bf16) return body(x.as<float>(), dy.as<bfloat16>(), dx.as<float>());
  body(x.as<float>(), dy.as<float>(), dx.as<float>());
}

/// The typed gradient of a parameter row; empty when frozen.
template <class Real>
MatrixView<Real> gradient_row(TensorView row, ConstTensorView x) {
  if (row.cols == 0) return {};
  expect_row_of(row, x);
  return row.as<Real>();
}

}  // namespace

void layer_norm_backward(ConstTensorView x, ConstTensorView gain, double epsilon, ConstTensorView dy, TensorView dx,
                         TensorView d_gain, TensorView d_bias) {
  expect_same_shape(x, dy);
  expect_same_shape(x, dx);
  expect_row_of(gain, x);
  for_norm_types(x, dy, dx,
                 [&]<class Real, class In>(ConstMatrixView<Real> in, ConstMatrixView<In> dout, MatrixView<Real> din) {
                   const ParameterRow<Real> row(gain, x.cols);
                   norm_backward<Centre::mean>(in, row.data(), epsilon, dout, din, gradient_row<Real>(d_gain, x),
                                               gradient_row<Real>(d_bias, x));
                 });
}

void rms_norm_backward(ConstTensorView x, ConstTensorView gain, double epsilon, ConstTensorView dy, TensorView dx,
                       TensorView d_gain) {
  expect_same_shape(x, dy);
  expect_same_shape(x, dx);
  expect_row_of(gain, x);
  for_norm_types(x, dy, dx,
                 [&]<class Real, class In>(ConstMatrixView<Real> in, ConstMatrixView<In> dout, MatrixView<Real> din) {
                   const ParameterRow<Real> row(gain, x.cols);
                   norm_backward<Centre::none>(in, row.data(), epsilon, dout, din, gradient_row<Real>(d_gain, x),
                                               MatrixView<Real>{});
                 });
}

void gelu_backward(ConstTensorView bias, ConstTensorView x, TensorView d, TensorView y) {
  expect_same_shape(x, d);
  expect_same_shape(x, y);
  if (bias.cols != 0) expect_row_of(bias, x);
  for_activation_type(x.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const ParameterRow<Real> row(bias, x.cols);
    const Real* b = row.data();
    const auto in = x.as<T>();
    const auto gradient = d.as<T>(), value = y.as<T>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < x.rows; ++i) {
      StripReader<T> read_x, read_d;
      StripWriter<T> write_d, write_y;
      for_strips(x.cols, [&](Index first, Index count) {
        T* d_row = &gradient.data[i * gradient.stride + first];
        T* y_row = &value.data[i * value.stride + first];
        const Real* xs = read_x(&in.data[i * in.stride + first], count);
        const Real* dys = read_d(d_row, count);
        Real* dxs = write_d(d_row);
        Real* ys = write_y(y_row);
#pragma omp simd
        for (Index j = 0; j < count; ++j) {
          const auto [value_at, slope] = gelu_of(xs[j] + b[first + j]);
          dxs[j] = dys[j] * slope;
          ys[j] = value_at;
        }
        write_d.store(d_row, count);
        write_y.store(y_row, count);
      });
    }
  });
}

void silu_times_backward(ConstTensorView up, ConstTensorView gate, TensorView d, TensorView d_up, TensorView y) {
  expect_same_shape(up, gate);
  expect_same_shape(gate, d);
  expect_same_shape(gate, d_up);
  if (y.cols != 0) expect_same_shape(gate, y);
  for_activation_type(gate.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto u = up.as<T>(), g = gate.as<T>();
    const auto gradient = d.as<T>(), up_gradient = d_up.as<T>();
    const auto value = y.cols == 0 ? MatrixView<T>{} : y.as<T>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < gate.rows; ++i) {
      StripReader<T> read_up, read_gate, read_d;
      StripWriter<T> write_d, write_up, write_y;
      Real unwanted[strip_size];
      for_strips(gate.cols, [&](Index first, Index count) {
        T* d_row = &gradient.data[i * gradient.stride + first];
        T* up_row = &up_gradient.data[i * up_gradient.stride + first];
        T* y_row = value.data == nullptr ? nullptr : &value.data[i * value.stride + first];
        const Real* us = read_up(&u.data[i * u.stride + first], count);
        const Real* gs = read_gate(&g.data[i * g.stride + first], count);
        const Real* dys = read_d(d_row, count);
        Real* dgs = write_d(d_row);
        Real* dus = write_up(up_row);
        Real* ys = y_row == nullptr ? unwanted : write_y(y_row);
#pragma omp simd
        for (Index j = 0; j < count; ++j) {
          const Real gated = gs[j], factor = us[j], dy = dys[j];
          const Real sigmoid = Real{1} / (Real{1} + exponential(-gated)), silu = gated * sigmoid;
          dgs[j] = dy * factor * (sigmoid + silu * (Real{1} - sigmoid));
          dus[j] = dy * silu;
          ys[j] = silu * factor;
        }
        write_d.store(d_row, count);
        write_up.store(up_row, count);
        if (y_row != nullptr) write_y.store(y_row, count);
      });
    }
  });
}

void add_column_sums(ConstTensorView dy, TensorView sums) {
  if (sums.cols == 0) return;
  expect_row_of(sums, dy);
  for_activation_type(dy.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto values = dy.as<T>();
    const auto body = [&](Index first_row, Index last_row, Real* partial) {
      StripReader<T> reader;
      for (Index i = first_row; i < last_row; ++i) {
        for_strips(dy.cols, [&](Index first, Index count) {
          const Real* strip = reader(&values.data[i * values.stride + first], count);
#pragma omp simd
          for (Index j = 0; j < count; ++j) partial[first + j] += strip[j];
        });
      }
    };
    const MatrixView<Real> totals[] = {sums.as<Real>()};
    add_row_sums<Real>(dy.rows, dy.cols, body, totals);
  });
}

void add_column_products(ConstTensorView x, ConstTensorView dy, TensorView sums) {
  if (sums.cols == 0) return;
  expect_same_shape(x, dy);
  expect_row_of(sums, dy);
  for_activation_type(dy.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto left = x.as<T>(), right = dy.as<T>();
    const auto body = [&](Index first_row, Index last_row, Real* partial) {
      StripReader<T> read_left, read_right;
      for (Index i = first_row; i < last_row; ++i) {
        for_strips(dy.cols, [&](Index first, Index count) {
          const Real* a = read_left(&left.data[i * left.stride + first], count);
          const Real* b = read_right(&right.data[i * right.stride + first], count);
#pragma omp simd
          for (Index j = 0; j < count; ++j) partial[first + j] += a[j] * b[j];
        });
      }
    };
    const MatrixView<Real> totals[] = {sums.as<Real>()};
    add_row_sums<Real>(dy.rows, dy.cols, body, totals);
  });
}

void add_row_products(std::span<const std::int32_t> ids, ConstTensorView x, ConstTensorView dy, TensorView sums) {
  expect_same_shape(x, dy);
  KRONLAB_EXPECTS(static_cast<Index>(ids.size()) == x.rows && sums.rows == 1, "{} ids for [{}, {}]", ids.size(), x.rows, x.cols);
  for_real_type(x.dtype, [&]<class Real>(Real) {
    const auto a = x.as<Real>(), b = dy.as<Real>();
    const auto totals = sums.as<Real>();
    for (Index i = 0; i < x.rows; ++i) {
      const auto id = static_cast<Index>(ids[static_cast<std::size_t>(i)]);
      KRONLAB_EXPECTS(id >= 0 && id < sums.cols, "id {} of {}", id, sums.cols);
      totals(0, id) += row_sum<Real>(x.cols, [](auto p, auto q) { return p * q; }, a.row(i).data(), b.row(i).data());
    }
  });
}

void add_position_gradient(Index length, ConstTensorView d_stream, TensorView d_table) {
  if (d_table.cols == 0) return;
  KRONLAB_EXPECTS(d_table.cols == d_stream.cols && length > 0 && d_table.rows >= length && d_stream.rows % length == 0,
                  "positions [{}, {}] for sequences of {} in [{}, {}]", d_table.rows, d_table.cols, length,
                  d_stream.rows, d_stream.cols);
  const auto add = [&]<class Real>(Real) {
    const auto from = d_stream.as<Real>();
    const auto to = d_table.as<Real>();
#pragma omp parallel for schedule(static)
    for (Index t = 0; t < length; ++t) {
      Real* row = &to.data[t * to.stride];
      for (Index i = t; i < from.rows; i += length) {
        const Real* values = &from.data[i * from.stride];
#pragma omp simd
        for (Index j = 0; j < from.cols; ++j) row[j] += values[j];
      }
    }
  };
  d_stream.dtype == DType::f64 ? add(double{}) : add(float{});
}

void scatter_add_rows(std::span<const std::int32_t> ids, ConstTensorView dy, TensorView d_table) {
  if (d_table.cols == 0) return;
  KRONLAB_EXPECTS(dy.rows == static_cast<Index>(ids.size()) && d_table.cols == dy.cols,
                  "{} ids of rows [{}, {}] for a table [{}, {}]", ids.size(), dy.rows, dy.cols, d_table.rows,
                  d_table.cols);
  for (const std::int32_t id : ids) KRONLAB_EXPECTS(id >= 0 && id < d_table.rows, "id {} of {} rows", id, d_table.rows);
  for_activation_type(dy.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto from = dy.as<T>();
    const auto to = d_table.as<Real>();
#pragma omp parallel
    {
      // a row belongs to one thread, which adds to it in the sequence of i
      const auto num_threads = omp_get_num_threads(), thread = omp_get_thread_num();
      StripReader<T> reader;
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] % num_threads != thread) continue;
        for_strips(dy.cols, [&](Index first, Index count) {
          const Real* strip = reader(&from.data[static_cast<Index>(i) * from.stride + first], count);
          Real* row = &to.data[ids[i] * to.stride + first];
#pragma omp simd
          for (Index j = 0; j < count; ++j) row[j] += strip[j];
        });
      }
    }
  });
}

}  // namespace kronlab::kernels
