#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "framework/kernels/elementwise.hpp"
#include "framework/kernels/vector_math.hpp"
#include "tests/support/kernel_case.hpp"

namespace kronlab::kernels {
namespace {

using testing::activation_types;
using testing::bound;
using testing::error_of;
using testing::random_matrix;
using testing::Strided;
namespace reference = testing::reference;

const Index widths[] = {1, 2, 7, 8, 15, 16, 17, 33, 100, 257};
const RandomStream seed(11);

/// Types of a norm's input and output.
struct NormTypes {
  DType from, to;
};
const NormTypes norm_types[] = {{DType::f32, DType::f32}, {DType::f32, DType::bf16}, {DType::f64, DType::f64}};

Matrix<double> map(const Matrix<double>& x, double (*f)(double)) {
  Matrix<double> y(x.rows(), x.cols());
  std::transform(x.data(), x.data() + x.size(), y.data(), f);
  return y;
}

BOOST_AUTO_TEST_SUITE(elementwise)

BOOST_AUTO_TEST_CASE(norms_are_those_of_the_slow_reference) {
  for (const auto [from, to] : norm_types) {
    for (const Index width : widths) {
      Strided x(from, random_matrix(5, width, seed.child("x"))), y(to, 5, width);
      Strided gain(DType::f32, random_matrix(1, width, seed.child("gain"))),
          bias(DType::f32, random_matrix(1, width, seed.child("bias")));
      layer_norm(x.view(), gain.view(), bias.view(), 1e-5, y.view());
      BOOST_TEST(error_of(y.values(), reference::layer_norm(x.values(), gain.values(), bias.values(), 1e-5)) <
                 bound(to, width));
      BOOST_TEST(y.is_untouched_outside());
      rms_norm(x.view(), gain.view(), 1e-5, y.view());
      BOOST_TEST(error_of(y.values(), reference::rms_norm(x.values(), gain.values(), 1e-5)) < bound(to, width));
      BOOST_TEST(y.is_untouched_outside());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_matrix_is_added_to_another_of_its_type_and_shape) {
  for (const DType type : activation_types) {
    for (const Index width : widths) {
      Strided x(type, random_matrix(5, width, seed.child("x"))), y(type, random_matrix(5, width, seed.child("y")));
      auto expected = y.values();
      for (Index i = 0; i < expected.size(); ++i) expected.data()[i] += x.values().data()[i];
      add(x.view(), y.view());
      BOOST_TEST(error_of(y.values(), expected) < bound(type, 1));
      BOOST_TEST(y.is_untouched_outside());
    }
  }
  Tensor narrow(DType::f32, {5, 3});
  BOOST_CHECK_THROW(add(Tensor(DType::f32, {5, 4}).view(), narrow.view()), ContractError);
  BOOST_CHECK_THROW(add(Tensor(DType::f64, {5, 3}).view(), narrow.view()), ContractError);
}

BOOST_AUTO_TEST_CASE(columns_and_rows_are_scaled_and_columns_may_be_added) {
  const NormTypes pairs[] = {{DType::f32, DType::f32}, {DType::f64, DType::f64}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}};
  for (const auto [from, to] : pairs) {
    for (const Index width : widths) {
      Strided x(from, random_matrix(5, width, seed.child("x"))), y(to, random_matrix(5, width, seed.child("y")));
      for (const DType scale_type : {DType::f32, DType::f64}) {
        Strided scales(scale_type, random_matrix(1, width, seed.child("scales"))), rows(scale_type, random_matrix(1, 5, seed.child("rows")));
        auto expected = y.values();
        for (const bool add : {true, false}) {
          for (Index i = 0; i < 5; ++i) {
            for (Index j = 0; j < width; ++j) expected(i, j) = (add ? expected(i, j) : 0.0) + x.values()(i, j) * scales.values()(0, j);
          }
          scale_columns(scales.view(), x.view(), y.view(), add);
          BOOST_TEST(error_of(y.values(), expected) < bound(to, 2));
          expected = y.values();
        }
        for (Index i = 0; i < 5; ++i) {
          for (Index j = 0; j < width; ++j) expected(i, j) *= rows.values()(0, i);
        }
        scale_rows(rows.view(), y.view());
        BOOST_TEST(error_of(y.values(), expected) < bound(to, 1));
        BOOST_TEST(y.is_untouched_outside());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_layer_norm_of_a_shifted_row_loses_no_more_than_the_shift_does) {
  // |x| / sigma = 1000: the subtraction of the mean makes the error of the mean 1000 times larger; a variance as
  // mean(x^2) - mean(x)^2 would lose its square
  auto values = random_matrix(4, 100, seed);
  for (Index i = 0; i < values.size(); ++i) values.data()[i] += 1000;
  Strided x(DType::f32, values), y(DType::f32, 4, 100);
  Strided gain(DType::f32, random_matrix(1, 100, seed.child("gain"))),
      bias(DType::f32, random_matrix(1, 100, seed.child("bias")));
  layer_norm(x.view(), gain.view(), bias.view(), 1e-5, y.view());
  BOOST_TEST(error_of(y.values(), reference::layer_norm(x.values(), gain.values(), bias.values(), 1e-5)) <
             1000 * bound(DType::f32, 100));
}

BOOST_AUTO_TEST_CASE(norms_of_constant_and_zero_rows_are_finite) {
  for (const auto [from, to] : norm_types) {
    Strided x(from, 2, 9), y(to, 2, 9), gain(DType::f32, random_matrix(1, 9, seed)),
        bias(DType::f32, random_matrix(1, 9, seed.child(1)));
    layer_norm(x.view(), gain.view(), bias.view(), 1e-5, y.view());
    BOOST_TEST(error_of(y.values(), reference::layer_norm(x.values(), gain.values(), bias.values(), 1e-5)) <
               bound(to, 9));
    rms_norm(x.view(), gain.view(), 1e-5, y.view());
    BOOST_TEST(error_of(y.values(), Matrix<double>(2, 9)) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(gelu_and_swiglu_are_those_of_the_slow_reference) {
  for (const DType type : activation_types) {
    for (const Index width : widths) {
      Strided x(type, random_matrix(3, width, seed.child("x"))), up(type, random_matrix(3, width, seed.child("up")));
      Strided bias(DType::f32, random_matrix(1, width, seed.child("bias")));
      const auto before = x.values(), b = bias.values(), u = up.values();
      Matrix<double> shifted(3, width), swiglu(3, width);
      for (Index i = 0; i < 3; ++i) {
        for (Index j = 0; j < width; ++j) {
          shifted(i, j) = before(i, j) + b(0, j);
          swiglu(i, j) = reference::silu(before(i, j)) * u(i, j);
        }
      }
      Strided y(type, before);
      gelu(ConstTensorView(), y.view());
      BOOST_TEST(error_of(y.values(), map(before, reference::gelu)) < bound(type, 1));
      y = Strided(type, before);
      gelu(bias.view(), y.view());
      // width 1 may shift to nearly 0, where the sum's rounding is relative to its terms, and 1 + tanh cancels
      BOOST_TEST(error_of(y.values(), map(shifted, reference::gelu)) < 4 * bound(type, 1));
      BOOST_TEST(y.is_untouched_outside());
      silu_times(up.view(), x.view());
      BOOST_TEST(error_of(x.values(), swiglu) < bound(type, 1));
      BOOST_TEST(x.is_untouched_outside());
    }
  }
}

BOOST_AUTO_TEST_CASE(gelu_and_swiglu_of_huge_values_are_their_limits) {
  for (const DType type : activation_types) {
    for (const double huge : {20.0, 60.0, 100.0, 1e6, 1e30}) {
      Matrix<double> values(1, 2), ones(1, 2);
      values(0, 0) = huge, values(0, 1) = -huge, ones(0, 0) = ones(0, 1) = 1;
      Strided x(type, values), up(type, ones);
      const double stored = x.values()(0, 0);
      gelu(ConstTensorView(), x.view());
      BOOST_TEST(x.values()(0, 0) == stored);
      BOOST_TEST(std::abs(x.values()(0, 1)) < 1e-30);
      x = Strided(type, values);
      silu_times(up.view(), x.view());
      BOOST_TEST(x.values()(0, 0) == reference::silu(stored), boost::test_tools::tolerance(bound(type, 1)));
      // x e^x for x = -20: 4e-8
      BOOST_TEST(std::abs(x.values()(0, 1)) <= 1.01 * stored * std::exp(-stored) + 1e-36);
    }
  }
}

BOOST_AUTO_TEST_CASE(biases_and_positions_are_added_to_their_rows) {
  for (const DType type : activation_types) {
    for (const Index width : widths) {
      Strided x(type, random_matrix(6, width, seed.child("x"))),
          bias(DType::f32, random_matrix(1, width, seed.child("bias")));
      Strided table(DType::f32, random_matrix(5, width, seed.child("table")));
      const auto before = x.values(), b = bias.values(), p = table.values();
      Matrix<double> biased(6, width), positioned(6, width);
      for (Index i = 0; i < 6; ++i) {
        for (Index j = 0; j < width; ++j)
          biased(i, j) = before(i, j) + b(0, j), positioned(i, j) = before(i, j) + p(i % 3, j);
      }
      add_bias(bias.view(), x.view());
      BOOST_TEST(error_of(x.values(), biased) < bound(type, 1));
      x = Strided(type, before);
      add_positions(table.view(), 3, x.view());  // two sequences of three tokens
      BOOST_TEST(error_of(x.values(), positioned) < bound(type, 1));
      BOOST_TEST(x.is_untouched_outside());
    }
  }
}

BOOST_AUTO_TEST_CASE(rotary_tables_hold_cosines_and_sines_of_their_angles) {
  for (const Index head_dim : {2, 6, 64}) {
    const auto expected = reference::rotary_table(300, head_dim, 10000.0);
    const Tensor f32 = rotary_table(300, head_dim, 10000.0, DType::f32),
                 f64 = rotary_table(300, head_dim, 10000.0, DType::f64);
    for (Index i = 0; i < expected.size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      // angles up to 300 have an absolute error of 300 u, in the table and here
      BOOST_TEST(std::abs(f64.values<double>()[at] - expected.data()[i]) < 2 * 300 * 0x1p-52);
      BOOST_TEST(std::abs(f32.values<float>()[at] - expected.data()[i]) <= 0x1p-24);
    }
  }
}

BOOST_AUTO_TEST_CASE(heads_are_rotated_pair_by_pair_and_keep_their_length) {
  for (const DType type : activation_types) {
    for (const Index head_dim : {2, 6, 16, 34}) {
      const Tensor table = rotary_table(9, head_dim, 100.0, type == DType::f64 ? DType::f64 : DType::f32);
      Strided x(type, random_matrix(10, 3 * head_dim, seed));
      const auto before = x.values();
      rotate_heads(table.view(), head_dim, 5, x.view());
      const auto expected = reference::rotate(to_matrix<double>(table.view()), head_dim, 5, before);
      BOOST_TEST(error_of(x.values(), expected) < bound(type, 2));
      BOOST_TEST(x.is_untouched_outside());
      const auto first = x.values();
      for (Index j = 0; j < before.cols(); ++j) BOOST_TEST(first(0, j) == before(0, j));  // position 0 turns nothing
      const auto squares = [](const Matrix<double>& m) {
        return std::inner_product(m.data(), m.data() + m.size(), m.data(), 0.0);
      };
      BOOST_TEST(squares(first) == squares(before), boost::test_tools::tolerance(2 * bound(type, 2)));
    }
  }
}

BOOST_AUTO_TEST_CASE(turning_back_undoes_a_rotation) {
  for (const DType type : activation_types) {
    for (const Index head_dim : {2, 6, 34}) {
      const Tensor table = rotary_table(9, head_dim, 100.0, type == DType::f64 ? DType::f64 : DType::f32);
      Strided x(type, random_matrix(10, 3 * head_dim, seed));
      const auto before = x.values();
      rotate_heads(table.view(), head_dim, 5, x.view());
      rotate_heads(table.view(), head_dim, 5, x.view(), Turn::back);
      BOOST_TEST(error_of(x.values(), before) < 2 * bound(type, 2));  // rounded twice
      BOOST_TEST(x.is_untouched_outside());
    }
  }
}

BOOST_AUTO_TEST_CASE(gelu_and_swiglu_out_of_place_keep_their_inputs) {
  for (const DType type : activation_types) {
    Strided x(type, random_matrix(3, 300, seed.child("x"))), up(type, random_matrix(3, 300, seed.child("up")));
    Strided bias(DType::f32, random_matrix(1, 300, seed.child("bias"))), y(type, 3, 300), in_place(type, x.values());
    const auto before = x.values();
    gelu(bias.view(), x.view(), y.view());
    gelu(bias.view(), in_place.view());
    BOOST_TEST(error_of(y.values(), in_place.values()) == 0.0);
    in_place = Strided(type, before);
    silu_times(up.view(), x.view(), y.view());
    silu_times(up.view(), in_place.view());
    BOOST_TEST(error_of(y.values(), in_place.values()) == 0.0);
    BOOST_TEST(error_of(x.values(), before) == 0.0);
    BOOST_TEST(y.is_untouched_outside());
  }
}

BOOST_AUTO_TEST_CASE(parameters_beside_f64_activations_may_be_f32_or_f64) {
  const auto values = random_matrix(4, 33, seed.child("x"));
  std::vector<Matrix<double>> results;
  for (const DType type : {DType::f32, DType::f64}) {
    // rounded to f32 first: the same parameters in both types
    Strided single(DType::f32, random_matrix(1, 33, seed.child("row"))), row(type, single.values());
    Strided table32(DType::f32, random_matrix(2, 33, seed.child("table"))), table(type, table32.values());
    Strided x(DType::f64, values), y(DType::f64, 4, 33);
    layer_norm(x.view(), row.view(), row.view(), 1e-5, y.view());
    results.push_back(y.values());
    rms_norm(x.view(), row.view(), 1e-5, y.view());
    results.push_back(y.values());
    add_bias(row.view(), y.view());
    add_positions(table.view(), 2, y.view());
    gelu(row.view(), y.view());
    results.push_back(y.values());
  }
  for (std::size_t i = 0; i < 3; ++i) BOOST_TEST(error_of(results[i], results[i + 3]) == 0.0);

  Strided fine(DType::f64, random_matrix(1, 33, seed.child("row"))), x(DType::f64, values), y(DType::f64, 4, 33);
  layer_norm(x.view(), fine.view(), fine.view(), 1e-5, y.view());
  BOOST_TEST(error_of(y.values(), reference::layer_norm(values, fine.values(), fine.values(), 1e-5)) <
             bound(DType::f64, 33));
}

BOOST_AUTO_TEST_CASE(the_exponential_keeps_its_promise_over_the_whole_range) {
  double worst = 0;
  for (float x = -87.3f; x < 88.37f; x += 0.000731f) {
    worst = std::max(worst, std::abs(exponential(x) / std::exp(static_cast<double>(x)) - 1));
  }
  BOOST_TEST(worst < 3e-7);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float x : {-87.4f, -100.0f, -1e30f, -infinity}) BOOST_TEST(exponential(x) == 0.0f);
  for (const float x : {88.8f, 1e30f, infinity}) BOOST_TEST(exponential(x) == infinity);
  BOOST_TEST(exponential(0.0f) == 1.0f);
  BOOST_TEST(std::isnan(exponential(std::numeric_limits<float>::quiet_NaN())));
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  Tensor x(DType::f32, {2, 4}), other(DType::f32, {2, 5}), row(DType::f32, {4}), longer(DType::f32, {5}),
      wide(DType::f64, {4});
  BOOST_CHECK_THROW(layer_norm(x.view(), longer.view(), row.view(), 1e-5, x.view()), ContractError);
  BOOST_CHECK_THROW(layer_norm(x.view(), row.view(), row.view(), 1e-5, other.view()), ContractError);
  BOOST_CHECK_THROW(rms_norm(x.view(), longer.view(), 1e-5, x.view()), ContractError);
  BOOST_CHECK_THROW(add_bias(longer.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(gelu(longer.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(gelu(row.view(), x.view(), other.view()), ContractError);
  BOOST_CHECK_THROW(gelu(wide.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(silu_times(x.view(), x.view(), other.view()), ContractError);
  BOOST_CHECK_THROW(silu_times(other.view(), x.view()), ContractError);
  BOOST_CHECK_THROW(add_positions(x.view(), 3, x.view()), ContractError);
  BOOST_CHECK_THROW(rotary_table(3, 5, 1e4, DType::f32), ContractError);
  BOOST_CHECK_THROW(rotate_heads(x.view(), 4, 3, x.view()), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::kernels
