#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "framework/kernels/elementwise.hpp"
#include "framework/kernels/elementwise_backward.hpp"
#include "tests/support/differences.hpp"
#include "tests/support/kernel_case.hpp"
#include "tests/support/reference_backward.hpp"

namespace kronlab::kernels {
namespace {

using testing::activation_types;
using testing::bound;
using testing::central_differences;
using testing::difference_bound;
using testing::error_of;
using testing::random_matrix;
using testing::Strided;
using testing::weighted_sum;
namespace reference = testing::reference;

const Index widths[] = {1, 2, 7, 8, 15, 16, 17, 33, 100, 257};
constexpr double epsilon = 1e-5;

Matrix<double> random(const char* name, Index rows, Index cols) {
  return random_matrix(rows, cols, RandomStream(12).child(name));
}

Matrix<double> sum(const Matrix<double>& a, const Matrix<double>& b) {
  Matrix<double> result = a;
  for (Index i = 0; i < a.size(); ++i) result.data()[i] += b.data()[i];
  return result;
}

Matrix<double> column_sums(const Matrix<double>& x) {
  Matrix<double> sums(1, x.cols());
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.cols(); ++j) sums(0, j) += x(i, j);
  }
  return sums;
}

double length(const Matrix<double>& x) { return std::sqrt(weighted_sum(x, x)); }

double distance(const Matrix<double>& a, const Matrix<double>& b) {
  Matrix<double> difference = a;
  for (Index i = 0; i < a.size(); ++i) difference.data()[i] -= b.data()[i];
  return length(difference);
}

enum class Norm { layer, rms };

/// A norm's input and parameters, and the gradient from above; dx and the parameters' gradients start at something.
struct NormCase {
  NormCase(Norm norm_, DType stream, DType activation, Index rows, Index cols, DType parameters)
      : norm(norm_),
        x(stream, random("x", rows, cols)),
        dy(activation, random("dy", rows, cols)),
        dx(stream, random("dx", rows, cols)),
        gain(parameters, random("gain", 1, cols)),
        d_gain(stream, random("d_gain", 1, cols)),
        d_bias(stream, random("d_bias", 1, cols)) {}
  NormCase(Norm norm_, DType stream, DType activation, Index rows, Index cols)
      : NormCase(norm_, stream, activation, rows, cols, stream) {}

  void run() { run(d_gain.view(), d_bias.view()); }
  void run(TensorView gain_gradient, TensorView bias_gradient) {
    if (norm == Norm::layer) {
      layer_norm_backward(x.view(), gain.view(), epsilon, dy.view(), dx.view(), gain_gradient, bias_gradient);
    } else {
      rms_norm_backward(x.view(), gain.view(), epsilon, dy.view(), dx.view(), gain_gradient);
    }
  }
  reference::NormGradient expected() {
    auto g = norm == Norm::layer ? reference::layer_norm_backward(x.values(), gain.values(), epsilon, dy.values())
                                 : reference::rms_norm_backward(x.values(), gain.values(), epsilon, dy.values());
    g.dx = sum(g.dx, dx.values()), g.d_gain = sum(g.d_gain, d_gain.values()), g.d_bias = sum(g.d_bias, d_bias.values());
    return g;
  }

  /// |dy gain / s|_F, each row times 1 + max|x| / s: dx is a difference of terms of this size, and a normed value a
  /// difference of values of size |x|, over s. Narrow rows cancel much of both.
  double size_of_terms() {
    const auto values = x.values(), g = gain.values(), d = dy.values();
    double sum = 0;
    for (Index i = 0; i < values.rows(); ++i) {
      double mean = 0, variance = 0, largest = 0, row = 0;
      for (const double value : values.row(i))
        mean += norm == Norm::layer ? value / static_cast<double>(values.cols()) : 0;
      for (Index j = 0; j < values.cols(); ++j) {
        variance += (values(i, j) - mean) * (values(i, j) - mean) / static_cast<double>(values.cols());
        largest = std::max(largest, std::abs(values(i, j)));
        row += d(i, j) * g(0, j) * d(i, j) * g(0, j);
      }
      const double s = std::sqrt(variance + epsilon);
      sum += row / (s * s) * (1 + largest / s) * (1 + largest / s);
    }
    return std::sqrt(sum);
  }

  Norm norm;
  Strided x, dy, dx, gain, d_gain, d_bias;
};

/// Types of a norm's stream and of the gradient from above.
struct NormTypes {
  DType stream, activation;
};
const NormTypes norm_types[] = {{DType::f32, DType::f32}, {DType::f32, DType::bf16}, {DType::f64, DType::f64}};

/// Results of `run` with one thread, then whether more threads give the same.
template <class Run>
void check_threads(Run run) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const Matrix<double> one = run();
  for (const int threads : {2, 3}) {
    omp_set_num_threads(threads);
    BOOST_TEST(error_of(run(), one) == 0.0);
  }
  omp_set_num_threads(before);
}

BOOST_AUTO_TEST_SUITE(elementwise_backward)

BOOST_AUTO_TEST_CASE(gradients_of_norms_are_central_differences_of_the_forward_kernels) {
  for (const Norm norm : {Norm::layer, Norm::rms}) {
    for (const Index width : {3, 7, 17}) {
      NormCase c(norm, DType::f64, DType::f64, 5, width);
      c.dx = Strided(DType::f64, 5, width), c.d_gain = Strided(DType::f64, 1, width),
      c.d_bias = Strided(DType::f64, 1, width);
      auto x = c.x.values(), gain = c.gain.values(), bias = random("bias", 1, width);
      c.run();
      const auto dy = c.dy.values();
      const auto loss = [&] {
        Matrix<double> y(5, width);
        if (norm == Norm::layer) {
          layer_norm(x.view(), gain.view(), bias.view(), epsilon, y.view());
        } else {
          rms_norm(x.view(), gain.view(), epsilon, y.view());
        }
        return weighted_sum(dy, y);
      };
      BOOST_TEST(error_of(c.dx.values(), central_differences(x, loss)) < difference_bound);
      BOOST_TEST(error_of(c.d_gain.values(), central_differences(gain, loss)) < difference_bound);
      if (norm == Norm::layer)
        BOOST_TEST(error_of(c.d_bias.values(), central_differences(bias, loss)) < difference_bound);
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_of_norms_are_added_and_those_of_the_slow_reference) {
  for (const Norm norm : {Norm::layer, Norm::rms}) {
    for (const auto [stream, activation] : norm_types) {
      for (const Index width : widths) {
        for (const Index rows : {1, 5, 40}) {
          NormCase c(norm, stream, activation, rows, width);
          const auto expected = c.expected();
          const double size_of_terms = c.size_of_terms();
          c.run();
          BOOST_TEST_CONTEXT(rows << " x " << width << " of " << to_string(activation)) {
            BOOST_TEST(distance(c.dx.values(), expected.dx) <
                       bound(stream, width) * (size_of_terms + length(expected.dx)));
            BOOST_TEST(error_of(c.d_gain.values(), expected.d_gain) < bound(stream, rows + width));
            if (norm == Norm::layer) BOOST_TEST(error_of(c.d_bias.values(), expected.d_bias) < bound(stream, rows));
            BOOST_TEST(
                (c.dx.is_untouched_outside() && c.d_gain.is_untouched_outside() && c.d_bias.is_untouched_outside()));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(parameters_may_be_f32_beside_f64_activations) {
  for (const Norm norm : {Norm::layer, Norm::rms}) {
    NormCase c(norm, DType::f64, DType::f64, 5, 33, DType::f32);
    const auto expected = c.expected();
    c.run();
    BOOST_TEST(error_of(c.dx.values(), expected.dx) < bound(DType::f64, 33));
  }
  Strided bias32(DType::f32, random("bias", 1, 33)), bias64(DType::f64, bias32.values());
  Strided x(DType::f64, random("x", 4, 33)), d32(DType::f64, random("d", 4, 33)), d64(DType::f64, random("d", 4, 33)),
      y(DType::f64, 4, 33);
  gelu_backward(bias32.view(), x.view(), d32.view(), y.view());
  gelu_backward(bias64.view(), x.view(), d64.view(), y.view());
  BOOST_TEST(error_of(d32.values(), d64.values()) == 0.0);
}

BOOST_AUTO_TEST_CASE(frozen_parameters_get_no_gradient_and_change_no_other) {
  for (const Norm norm : {Norm::layer, Norm::rms}) {
    NormCase all(norm, DType::f32, DType::f32, 5, 33), frozen(norm, DType::f32, DType::f32, 5, 33);
    all.run();
    frozen.run(TensorView(), TensorView());
    BOOST_TEST(error_of(frozen.dx.values(), all.dx.values()) == 0.0);
    NormCase half(norm, DType::f32, DType::f32, 5, 33);
    half.run(TensorView(), half.d_bias.view());
    BOOST_TEST(error_of(half.d_bias.values(), all.d_bias.values()) == 0.0);
    BOOST_TEST(error_of(half.d_gain.values(), random("d_gain", 1, 33)) <= 0x1p-24);
  }
  Strided dy(DType::f32, random("dy", 6, 8));
  const std::int32_t ids[] = {0, 1, 2, 3, 4, 5};
  BOOST_CHECK_NO_THROW(add_column_sums(dy.view(), TensorView()));
  BOOST_CHECK_NO_THROW(add_position_gradient(3, dy.view(), TensorView()));
  BOOST_CHECK_NO_THROW(scatter_add_rows(ids, dy.view(), TensorView()));
}

BOOST_AUTO_TEST_CASE(gradients_of_norms_of_constant_and_zero_rows_are_finite) {
  for (const auto [stream, activation] : norm_types) {
    for (const Norm norm : {Norm::layer, Norm::rms}) {
      NormCase c(norm, stream, activation, 2, 9);
      c.x = Strided(stream, 2, 9);
      const auto expected = c.expected();
      c.run();
      BOOST_TEST(error_of(c.dx.values(), expected.dx) < bound(stream, 9));
      BOOST_TEST(error_of(c.d_gain.values(), expected.d_gain) == 0.0);
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_of_gelu_and_swiglu_are_central_differences_of_the_forward_kernels) {
  auto x = random("x", 5, 17), bias = random("bias", 1, 17), up = random("up", 5, 17);
  const auto dy = random("dy", 5, 17);
  Matrix<double> d = dy, y(5, 17), d_bias(1, 17), d_up(5, 17), none;
  gelu_backward(bias.view(), x.view(), d.view(), y.view());
  add_column_sums(d.view(), d_bias.view());
  const auto gelu_loss = [&] {
    Matrix<double> out(5, 17);
    gelu(bias.view(), x.view(), out.view());
    return weighted_sum(dy, out);
  };
  BOOST_TEST(error_of(d, central_differences(x, gelu_loss)) < difference_bound);
  BOOST_TEST(error_of(d_bias, central_differences(bias, gelu_loss)) < difference_bound);
  d = dy;
  silu_times_backward(up.view(), x.view(), d.view(), d_up.view(), y.view());
  const auto silu_loss = [&] {
    Matrix<double> out(5, 17);
    silu_times(up.view(), x.view(), out.view());
    return weighted_sum(dy, out);
  };
  BOOST_TEST(error_of(d, central_differences(x, silu_loss)) < difference_bound);
  BOOST_TEST(error_of(d_up, central_differences(up, silu_loss)) < difference_bound);
}

BOOST_AUTO_TEST_CASE(gradients_of_gelu_and_swiglu_are_those_of_the_slow_reference) {
  for (const DType type : activation_types) {
    const DType parameters = type == DType::f64 ? DType::f64 : DType::f32;
    for (const Index width : widths) {
      Strided x(type, random("x", 5, width)), up(type, random("up", 5, width)), d(type, random("dy", 5, width)),
          y(type, 5, width), d_up(type, 5, width), bias(parameters, random("bias", 1, width)), again(type, 5, width);
      const auto in = x.values(), factor = up.values(), b = bias.values(), dy = d.values();
      Matrix<double> dx(5, width), d_gate(5, width), d_factor(5, width);
      for (Index i = 0; i < 5; ++i) {
        for (Index j = 0; j < width; ++j) {
          dx(i, j) = dy(i, j) * reference::gelu_slope(in(i, j) + b(0, j));
          d_gate(i, j) = dy(i, j) * factor(i, j) * reference::silu_slope(in(i, j));
          d_factor(i, j) = dy(i, j) * reference::silu(in(i, j));
        }
      }
      gelu_backward(bias.view(), x.view(), d.view(), y.view());
      // slopes are sums of terms near 1, and a row of width 1 may have small ones only
      BOOST_TEST(error_of(d.values(), dx) < 4 * bound(type, 1));
      gelu(bias.view(), x.view(), again.view());
      BOOST_TEST(error_of(y.values(), again.values()) < bound(type, 1));
      BOOST_TEST((d.is_untouched_outside() && y.is_untouched_outside() && error_of(x.values(), in) == 0.0));

      d = Strided(type, dy), y = Strided(type, 5, width);
      silu_times_backward(up.view(), x.view(), d.view(), d_up.view(), y.view());
      BOOST_TEST(error_of(d.values(), d_gate) < 4 * bound(type, 1));
      BOOST_TEST(error_of(d_up.values(), d_factor) < bound(type, 1));
      silu_times(up.view(), x.view(), again.view());
      BOOST_TEST(error_of(y.values(), again.values()) < bound(type, 1));
      BOOST_TEST((d.is_untouched_outside() && d_up.is_untouched_outside() && y.is_untouched_outside()));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_value_that_is_not_wanted_changes_no_gradient_and_results_may_lie_on_inputs) {
  for (const DType type : activation_types) {
    Strided x(type, random("x", 5, 300)), up(type, random("up", 5, 300)), y(type, 5, 300), d_up(type, 5, 300);
    Strided a(type, random("dy", 5, 300)), b(type, random("dy", 5, 300)), c(type, random("dy", 5, 300));
    silu_times_backward(up.view(), x.view(), a.view(), d_up.view(), y.view());
    Strided other(type, 5, 300);
    silu_times_backward(up.view(), x.view(), b.view(), other.view(), TensorView());
    BOOST_TEST(error_of(b.values(), a.values()) == 0.0);
    BOOST_TEST(error_of(other.values(), d_up.values()) == 0.0);
    silu_times_backward(up.view(), x.view(), c.view(), up.view(), x.view());
    BOOST_TEST(error_of(c.values(), a.values()) == 0.0);
    BOOST_TEST(error_of(up.values(), d_up.values()) == 0.0);
    BOOST_TEST(error_of(x.values(), y.values()) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(gradients_of_huge_values_are_their_limits) {
  for (const DType type : activation_types) {
    for (const double huge : {20.0, 60.0, 100.0, 1e6, 1e18}) {
      Matrix<double> values(1, 2), ones(1, 2);
      values(0, 0) = huge, values(0, 1) = -huge, ones(0, 0) = ones(0, 1) = 1;
      Strided x(type, values), up(type, ones), d(type, ones), y(type, 1, 2), d_up(type, 1, 2);
      const double stored = x.values()(0, 0);
      gelu_backward(ConstTensorView(), x.view(), d.view(), y.view());
      BOOST_TEST(d.values()(0, 0) == 1.0);
      BOOST_TEST(std::abs(d.values()(0, 1)) < 1e-30);
      BOOST_TEST(y.values()(0, 0) == stored);
      d = Strided(type, ones);
      silu_times_backward(up.view(), x.view(), d.view(), d_up.view(), y.view());
      BOOST_TEST(d.values()(0, 0) == 1.0, boost::test_tools::tolerance(40 * std::exp(-20.0)));
      BOOST_TEST(std::abs(d.values()(0, 1)) <= 1.01 * stored * std::exp(-stored) + 1e-36);
      BOOST_TEST(d_up.values()(0, 0) == stored, boost::test_tools::tolerance(40 * std::exp(-20.0)));
    }
  }
}

BOOST_AUTO_TEST_CASE(columns_are_summed_and_added) {
  for (const DType type : activation_types) {
    const DType sums_type = type == DType::f64 ? DType::f64 : DType::f32;
    for (const Index rows : {1, 15, 16, 17, 1025}) {
      for (const Index width : {1, 7, 257}) {
        Strided dy(type, random("dy", rows, width)), sums(sums_type, random("sums", 1, width));
        const auto expected = sum(column_sums(dy.values()), sums.values());
        add_column_sums(dy.view(), sums.view());
        BOOST_TEST(error_of(sums.values(), expected) < bound(sums_type, rows));
        BOOST_TEST(sums.is_untouched_outside());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(products_are_summed_over_columns_and_over_the_rows_of_an_id) {
  for (const DType type : activation_types) {
    const DType sums_type = type == DType::f64 ? DType::f64 : DType::f32;
    for (const Index rows : {1, 17, 1025}) {
      for (const Index width : {1, 7, 257}) {
        Strided x(type, random("x", rows, width)), dy(type, random("dy", rows, width)), sums(sums_type, 1, width);
        Matrix<double> expected(1, width), sizes(1, width), by_id(1, 3);
        const auto a = x.values(), b = dy.values();
        for (Index i = 0; i < rows; ++i) {
          for (Index j = 0; j < width; ++j) expected(0, j) += a(i, j) * b(i, j), by_id(0, i % 2) += a(i, j) * b(i, j), sizes(0, j) += std::abs(a(i, j) * b(i, j));
        }
        add_column_products(x.view(), dy.view(), sums.view());
        const auto found = sums.values();
        for (Index j = 0; j < width; ++j) BOOST_TEST(std::abs(found(0, j) - expected(0, j)) <= bound(sums_type, rows) * sizes(0, j));
        BOOST_TEST(sums.is_untouched_outside());
        if (type == DType::bf16) continue;
        std::vector<std::int32_t> ids;
        for (Index i = 0; i < rows; ++i) ids.push_back(static_cast<std::int32_t>(i % 2));
        Strided totals(sums_type, 1, 3);
        add_row_products(ids, x.view(), dy.view(), totals.view());
        double size = 0;
        for (Index j = 0; j < width; ++j) size += sizes(0, j);
        for (Index id = 0; id < 3; ++id) BOOST_TEST(std::abs(totals.values()(0, id) - by_id(0, id)) <= bound(sums_type, rows * width) * size);
      }
    }
  }
  Strided x(DType::f32, 2, 3), sums(DType::f32, 1, 2);
  BOOST_CHECK_THROW(add_row_products(std::vector<std::int32_t>{0, 2}, x.view(), x.view(), sums.view()), ContractError);
}

BOOST_AUTO_TEST_CASE(gradients_of_positions_are_sums_over_sequences) {
  for (const DType type : {DType::f32, DType::f64}) {
    Strided d_stream(type, random("d", 12, 37)), d_table(type, random("table", 5, 37));
    auto expected = d_table.values();
    const auto d = d_stream.values();
    for (Index i = 0; i < 12; ++i) {
      for (Index j = 0; j < 37; ++j) expected(i % 4, j) += d(i, j);
    }
    add_position_gradient(4, d_stream.view(), d_table.view());
    BOOST_TEST(error_of(d_table.values(), expected) < bound(type, 3));
    BOOST_TEST(d_table.is_untouched_outside());
  }
}

BOOST_AUTO_TEST_CASE(rows_of_repeated_ids_are_summed) {
  const std::vector<std::int32_t> ids{3, 0, 3, 6, 3, 1, 0};
  for (const DType type : activation_types) {
    const DType table_type = type == DType::f64 ? DType::f64 : DType::f32;
    Strided dy(type, random("dy", 7, 300)), d_table(table_type, random("table", 7, 300));
    auto expected = d_table.values();
    const auto d = dy.values();
    for (Index i = 0; i < 7; ++i) {
      for (Index j = 0; j < 300; ++j) expected(ids[static_cast<std::size_t>(i)], j) += d(i, j);
    }
    scatter_add_rows(ids, dy.view(), d_table.view());
    BOOST_TEST(error_of(d_table.values(), expected) < bound(table_type, 3));
    BOOST_TEST(d_table.is_untouched_outside());
  }
}

BOOST_AUTO_TEST_CASE(the_number_of_threads_changes_no_bit) {
  for (const auto [stream, activation] : norm_types) {
    for (const Norm norm : {Norm::layer, Norm::rms}) {
      for (const auto result : {&NormCase::dx, &NormCase::d_gain, &NormCase::d_bias}) {
        check_threads([&] {
          NormCase c(norm, stream, activation, 213, 33);
          c.run();
          return (c.*result).values();
        });
      }
    }
  }
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < 213; ++i) ids.push_back(i * i % 11);
  for (const DType type : activation_types) {
    Strided dy(type, random("dy", 213, 33));
    check_threads([&] {
      Strided sums(type == DType::f64 ? type : DType::f32, 1, 33);
      add_column_sums(dy.view(), sums.view());
      return sums.values();
    });
    check_threads([&] {
      Strided table(type == DType::f64 ? type : DType::f32, 11, 33);
      scatter_add_rows(ids, dy.view(), table.view());
      return table.values();
    });
  }
}

BOOST_AUTO_TEST_CASE(a_batch_without_rows_has_no_gradient) {
  Strided x(DType::f32, 0, 8), row(DType::f32, random("row", 1, 8));
  const auto before = row.values();
  layer_norm_backward(x.view(), row.view(), epsilon, x.view(), x.view(), row.view(), row.view());
  add_column_sums(x.view(), row.view());
  scatter_add_rows({}, x.view(), row.view());
  BOOST_TEST(error_of(row.values(), before) == 0.0);
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  Tensor x(DType::f32, {2, 4}), other(DType::f32, {2, 5}), row(DType::f32, {4}), longer(DType::f32, {5}),
      wide(DType::f64, {4});
  const TensorView none;
  BOOST_CHECK_THROW(layer_norm_backward(x.view(), longer.view(), epsilon, x.view(), x.view(), none, none),
                    ContractError);
  BOOST_CHECK_THROW(layer_norm_backward(x.view(), row.view(), epsilon, other.view(), x.view(), none, none),
                    ContractError);
  BOOST_CHECK_THROW(layer_norm_backward(x.view(), row.view(), epsilon, x.view(), other.view(), none, none),
                    ContractError);
  BOOST_CHECK_THROW(layer_norm_backward(x.view(), row.view(), epsilon, x.view(), x.view(), longer.view(), none),
                    ContractError);
  BOOST_CHECK_THROW(layer_norm_backward(x.view(), row.view(), epsilon, x.view(), x.view(), none, longer.view()),
                    ContractError);
  BOOST_CHECK_THROW(layer_norm_backward(x.view(), wide.view(), epsilon, x.view(), x.view(), none, none), ContractError);
  BOOST_CHECK_THROW(rms_norm_backward(x.view(), row.view(), epsilon, other.view(), x.view(), none), ContractError);
  BOOST_CHECK_THROW(rms_norm_backward(x.view(), row.view(), epsilon, x.view(), x.view(), wide.view()), ContractError);
  BOOST_CHECK_THROW(gelu_backward(longer.view(), x.view(), x.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(gelu_backward(none, x.view(), other.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(silu_times_backward(x.view(), x.view(), x.view(), other.view(), none), ContractError);
  BOOST_CHECK_THROW(silu_times_backward(x.view(), x.view(), x.view(), x.view(), other.view()), ContractError);
  BOOST_CHECK_THROW(add_column_sums(x.view(), longer.view()), ContractError);
  BOOST_CHECK_THROW(add_column_sums(x.view(), wide.view()), ContractError);
  BOOST_CHECK_THROW(add_position_gradient(2, x.view(), row.view()), ContractError);
  BOOST_CHECK_THROW(add_position_gradient(2, x.view(), other.view()), ContractError);
  const std::int32_t good[] = {0, 1}, beyond[] = {0, 2}, negative[] = {-1, 0}, three[] = {0, 0, 0};
  BOOST_CHECK_NO_THROW(scatter_add_rows(good, x.view(), x.view()));
  BOOST_CHECK_THROW(scatter_add_rows(beyond, x.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(scatter_add_rows(negative, x.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(scatter_add_rows(three, x.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(scatter_add_rows(good, x.view(), other.view()), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::kernels
