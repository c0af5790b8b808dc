#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <string>

#include "tests/decompositions/examples.hpp"
#include "tests/support/kernel_case.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::linalg::Write;
using kronlab::testing::bound;
using kronlab::testing::examples;
using kronlab::testing::random_kronecker;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

Tensor typed(DType dtype, const Tensor& values) {
  Tensor tensor = Tensor::uninitialised(dtype, values.shape());
  convert(values.view(), tensor.view());
  return tensor;
}

Tensor random_typed(DType dtype, Index rows, Index cols, RandomStream random) {
  return typed(dtype, random_tensor({rows, cols}, random));
}

void make_double(Factorization& w) {
  for (const auto& [name, value] : w.parameters()) *value = typed(DType::f64, *value);
  w.parameters_changed();
}

/// Gradients of all parameters and room for them.
struct Gradients {
  std::vector<Tensor> tensors;
  std::vector<TensorView> views;

  Gradients(Factorization& w, DType dtype) {
    for (const auto& [name, value] : w.parameters()) tensors.emplace_back(dtype, value->shape());
    for (auto& tensor : tensors) views.push_back(tensor.view());
  }
};

/// sum(y .* r)
double weighted_sum(const Tensor& y, const Tensor& r) {
  double sum = 0;
  for (std::size_t i = 0; i < y.values<double>().size(); ++i) sum += y.values<double>()[i] * r.values<double>()[i];
  return sum;
}

/// Central differences of `loss` in every element. The loss is linear in each, so any step is exact up to rounding.
Tensor differences(Tensor& value, const std::function<double()>& loss) {
  Tensor gradient(DType::f64, value.shape());
  for (Index i = 0; i < value.size(); ++i) {
    double& element = value.values<double>()[static_cast<std::size_t>(i)];
    const double kept = element;
    element = kept + 0.5;
    const double above = loss();
    element = kept - 0.5;
    gradient.values<double>()[static_cast<std::size_t>(i)] = above - loss();
    element = kept;
  }
  return gradient;
}

/// Rounding of differences with step 1 of a loss of some 100 summands, each a sum of at most 40 products of normal
/// numbers: a loss of about 60 is right to some 100 eps, a gradient has a size of at least 1.
constexpr double tolerance = 1e-12;

bool same_bits(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.view().data, b.view().data, static_cast<std::size_t>(a.size_bytes())) == 0;
}

const std::vector<std::int32_t> some_ids = {3, 0, 11, 3, 7, 6, 3, 10, 1};

}  // namespace

BOOST_AUTO_TEST_SUITE(gradients)

BOOST_AUTO_TEST_CASE(every_factor_and_the_input_have_the_gradient_that_differences_show) {
  for (const auto& w : examples()) {
    make_double(*w);
    Tensor x = random_typed(DType::f64, 5, w->cols(), RandomStream(21));
    const Tensor r = random_typed(DType::f64, 5, w->rows(), RandomStream(22));
    Tensor y(DType::f64, {5, w->rows()}), dx(DType::f64, x.shape());
    const auto loss = [&] {
      w->parameters_changed();
      w->apply(std::as_const(x).view(), y.view());
      return weighted_sum(y, r);
    };
    Gradients found(*w, DType::f64);
    w->backward(std::as_const(x).view(), r.view(), found.views, dx.view());
    BOOST_TEST(relative_difference(dx.view(), differences(x, loss).view()) < tolerance);
    const auto parameters = w->parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      BOOST_TEST_CONTEXT(w->parts().kind << ": " << parameters[i].name) {
        BOOST_TEST(relative_difference(found.tensors[i].view(), differences(*parameters[i].value, loss).view()) <
                   tolerance);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(gathered_rows_have_the_gradient_that_differences_show) {
  for (const auto& w : examples()) {
    make_double(*w);
    const auto n = static_cast<Index>(some_ids.size());
    const Tensor r = random_typed(DType::f64, n, w->cols(), RandomStream(22));
    Tensor out(DType::f64, {n, w->cols()});
    const auto loss = [&] {
      w->parameters_changed();
      w->gather_rows(some_ids, out.view());
      return weighted_sum(out, r);
    };
    Gradients found(*w, DType::f64);
    w->backward_gather(some_ids, r.view(), found.views);
    const auto parameters = w->parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      BOOST_TEST_CONTEXT(w->parts().kind << ": " << parameters[i].name) {
        BOOST_TEST(relative_difference(found.tensors[i].view(), differences(*parameters[i].value, loss).view()) <
                   tolerance);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(single_and_half_precision_give_the_gradient_of_double) {
  constexpr Index n = 70;
  for (const auto& w : examples()) {
    for (const auto& [type, dx_type] :
         {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}}) {
      const Tensor x = random_typed(type, n, w->cols(), RandomStream(21));
      const Tensor dy = random_typed(type, n, w->rows(), RandomStream(22));
      const Tensor x_wide = typed(DType::f64, x), dy_wide = typed(DType::f64, dy);
      Gradients found(*w, DType::f32), expected(*w, DType::f64);
      Tensor dx(dx_type, x.shape()), dx_expected(DType::f64, x.shape());
      w->backward(x_wide.view(), dy_wide.view(), expected.views, dx_expected.view());  // f32 factors, f64 activations
      w->backward(x.view(), dy.view(), found.views, dx.view());
      // float32: at most three sums one after another, the longest over all rows of the batch and all rows or columns.
      // bf16: at most eight roundings of factors and of what stands between products, 2^-9 each.
      const double limit = type == DType::f32 ? 3 * bound(DType::f32, n * 20) : 8 * 0x1p-9;
      BOOST_TEST(relative_difference(dx.view(), dx_expected.view()) < limit);
      for (std::size_t i = 0; i < found.tensors.size(); ++i)
        BOOST_TEST(relative_difference(found.tensors[i].view(), expected.tensors[i].view()) < limit);
    }
    const Tensor dy = random_tensor({static_cast<Index>(some_ids.size()), w->cols()}, RandomStream(23));
    Gradients found(*w, DType::f32), expected(*w, DType::f64);
    w->backward_gather(some_ids, dy.view(), found.views);
    w->backward_gather(some_ids, typed(DType::f64, dy).view(), expected.views);
    for (std::size_t i = 0; i < found.tensors.size(); ++i)
      BOOST_TEST(relative_difference(found.tensors[i].view(), expected.tensors[i].view()) <
                 3 * bound(DType::f32, 9 * 20));
  }
}

BOOST_AUTO_TEST_CASE(gradients_add_up_and_the_gradient_of_the_input_where_asked) {
  for (const auto& w : examples()) {
    const Tensor x = random_typed(DType::f64, 9, w->cols(), RandomStream(21));
    const Tensor dy = random_typed(DType::f64, 9, w->rows(), RandomStream(22));
    Gradients once(*w, DType::f64), twice(*w, DType::f64);
    Tensor dx(DType::f64, x.shape()), dx_twice(DType::f64, x.shape());
    w->backward(x.view(), dy.view(), once.views, dx.view());
    for (int i = 0; i < 2; ++i) w->backward(x.view(), dy.view(), twice.views, dx_twice.view(), Write::add);
    for (auto& tensor : once.tensors) {
      for (double& value : tensor.values<double>()) value *= 2;
    }
    for (double& value : dx.values<double>()) value *= 2;
    BOOST_TEST(relative_difference(dx_twice.view(), dx.view()) < bound(DType::f64, 9 * 20));
    for (std::size_t i = 0; i < once.tensors.size(); ++i)
      BOOST_TEST(relative_difference(twice.tensors[i].view(), once.tensors[i].view()) < bound(DType::f64, 9 * 20));
  }
}

BOOST_AUTO_TEST_CASE(frozen_factors_and_unwanted_inputs_are_left_out) {
  for (const auto& w : examples()) {
    const Tensor x = random_typed(DType::f64, 9, w->cols(), RandomStream(21));
    const Tensor dy = random_typed(DType::f64, 9, w->rows(), RandomStream(22));
    Gradients all(*w, DType::f64), only(*w, DType::f64);
    Tensor dx(DType::f64, x.shape()), dx_only(DType::f64, x.shape());
    w->backward(x.view(), dy.view(), all.views, dx.view());
    w->backward(x.view(), dy.view(), only.views, std::nullopt);
    w->backward(x.view(), dy.view(), {}, dx_only.view());
    w->backward(x.view(), dy.view(), {}, std::nullopt);
    w->backward_gather(
        some_ids, random_typed(DType::f64, static_cast<Index>(some_ids.size()), w->cols(), RandomStream(23)).view(),
        {});
    BOOST_TEST(relative_difference(dx_only.view(), dx.view()) < bound(DType::f64, 9 * 20));
    for (std::size_t i = 0; i < all.tensors.size(); ++i) BOOST_TEST(same_bits(only.tensors[i], all.tensors[i]));
  }
}

BOOST_AUTO_TEST_CASE(double_gradients_are_bit_equal_for_any_number_of_threads) {
  constexpr Index n = 200;  // more than one strip of rows
  const int threads = omp_get_max_threads();
  for (const auto& w : examples()) {
    const Tensor x = random_typed(DType::f64, n, w->cols(), RandomStream(21));
    const Tensor dy = random_typed(DType::f64, n, w->rows(), RandomStream(22));
    std::vector<Gradients> found;
    std::vector<Tensor> dx;
    for (const int count : {1, 2, 3}) {
      omp_set_num_threads(count);
      w->backward(x.view(), dy.view(), found.emplace_back(*w, DType::f64).views,
                  dx.emplace_back(DType::f64, x.shape()).view());
      w->backward_gather(some_ids, x.view().block(0, 0, static_cast<Index>(some_ids.size()), w->cols()),
                         found.back().views);
      BOOST_TEST(same_bits(dx.back(), dx.front()));
      for (std::size_t i = 0; i < found.back().tensors.size(); ++i)
        BOOST_TEST(same_bits(found.back().tensors[i], found.front().tensors[i]));
    }
    omp_set_num_threads(threads);
  }
}

BOOST_AUTO_TEST_CASE(a_clone_has_its_own_numbers_in_the_same_type) {
  for (const auto& w : examples()) {
    for (const DType type : {DType::f32, DType::f64}) {
      if (type == DType::f64) make_double(*w);
      const Tensor before = w->to_dense();
      const auto copy = w->clone();
      BOOST_TEST(same_bits(copy->to_dense(), before));
      for (const auto& [name, value] : copy->parameters()) {
        BOOST_TEST((value->dtype() == type));
        *value = Tensor(type, value->shape());
      }
      copy->parameters_changed();
      BOOST_TEST(same_bits(w->to_dense(), before));
      BOOST_TEST(relative_difference(copy->to_dense().view(), Tensor(DType::f32, before.shape()).view()) == 0.0);
    }
  }
}

BOOST_AUTO_TEST_CASE(parameters_are_named_by_their_place) {
  std::vector<std::string> names;
  for (const auto& [name, value] : examples().back()->parameters()) names.push_back(name);
  BOOST_TEST(names == (std::vector<std::string>{"inner.left.left", "inner.left.right", "inner.right"}));
  names.clear();
  for (const auto& [name, value] : random_kronecker(2, 6, 5, 2, 4, RandomStream(1))->parameters())
    names.push_back(name);
  BOOST_TEST(names == (std::vector<std::string>{"left.weight", "right"}));
}

BOOST_AUTO_TEST_CASE(factors_in_double_are_applied_in_every_precision_and_stored_in_single) {
  for (const auto& w : examples()) {
    const auto wide = w->copy();
    make_double(*wide);
    BOOST_TEST(wide->stored_bytes() == w->stored_bytes());
    BOOST_TEST(wide->num_parameters() == w->num_parameters());
    BOOST_TEST(serialise(wide->parts()) == serialise(w->parts()));  // the values are those of floats
    BOOST_TEST(same_bits(wide->to_dense(), w->to_dense()));
    for (const DType type : testing::activation_types) {
      const Tensor x = random_typed(type, 9, w->cols(), RandomStream(21)),
                   dy = random_typed(type, 9, w->rows(), RandomStream(22));
      Tensor y(type, dy.shape()), y_wide(type, dy.shape()), dx(type, x.shape()), dx_wide(type, x.shape());
      w->apply(x.view(), y.view());
      wide->apply(x.view(), y_wide.view());
      w->apply_adjoint(dy.view(), dx.view());
      wide->apply_adjoint(dy.view(), dx_wide.view());
      BOOST_TEST(same_bits(y_wide, y));
      BOOST_TEST(same_bits(dx_wide, dx));
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_of_another_number_or_shape_are_refused) {
  for (const auto& w : examples()) {
    const Tensor x = random_typed(DType::f32, 2, w->cols(), RandomStream(21)),
                 dy = random_typed(DType::f32, 2, w->rows(), RandomStream(22));
    const std::vector<std::int32_t> ids{0, 1};
    Gradients found(*w, DType::f32);
    auto fewer = found.views, more = found.views, smaller = found.views;
    more.push_back(found.views.back());
    fewer.pop_back();
    smaller.back().rows += 1;
    for (const auto& wrong : {fewer, more, smaller}) {
      if (wrong.empty()) continue;  // frozen
      BOOST_CHECK_THROW(w->backward(x.view(), dy.view(), wrong, std::nullopt), ContractError);
      BOOST_CHECK_THROW(w->backward_gather(ids, x.view(), wrong), ContractError);
    }
    BOOST_CHECK_THROW(w->backward(dy.view(), dy.view(), found.views, std::nullopt), ContractError);
    BOOST_CHECK_THROW(w->backward_gather(std::vector<std::int32_t>{0, 12}, x.view(), found.views), ContractError);
  }
}

BOOST_AUTO_TEST_SUITE_END()
