#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <limits>

#include "decompositions/mpo.hpp"
#include "tests/decompositions/examples.hpp"
#include "tests/support/kernel_case.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::bound;
using kronlab::testing::message_of;
using kronlab::testing::random_kronecker;
using kronlab::testing::random_mpo;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

using Direction = ContractionPlan::Direction;

/// All elements by the definition, in double.
Matrix<double> by_definition(const Mpo& w) {
  const auto parts = w.parts();
  Matrix<double> result(w.rows(), w.cols());
  for (Index i = 0; i < w.rows(); ++i) {
    for (Index j = 0; j < w.cols(); ++j) {
      std::vector<double> product{1.0};
      Index rows_below = 1, cols_below = 1;
      for (const auto& s : w.shapes()) rows_below *= s.rows, cols_below *= s.cols;
      for (std::size_t k = 0; k < w.shapes().size(); ++k) {
        const auto& s = w.shapes()[k];
        const Index row = i % rows_below / (rows_below / s.rows), col = j % cols_below / (cols_below / s.cols);
        rows_below /= s.rows, cols_below /= s.cols;
        const auto core = parts.tensors.at(Mpo::core_name(k)).values<float>();
        std::vector<double> next(static_cast<std::size_t>(s.right));
        for (Index a = 0; a < s.left; ++a) {
          for (Index b = 0; b < s.right; ++b)
            next[static_cast<std::size_t>(b)] += product[static_cast<std::size_t>(a)] * core[static_cast<std::size_t>(((a * s.rows + row) * s.cols + col) * s.right + b)];
        }
        product = next;
      }
      result(i, j) = product[0];
    }
  }
  return result;
}

/// Cost of a plan, added up over what it multiplies.
double cost_of(const std::vector<CoreShape>& cores, Pass pass, Direction direction, const std::vector<std::size_t>& first) {
  double total = 0;
  for (std::size_t g = 0; g + 1 < first.size(); ++g) {
    double per_row = static_cast<double>(cores[first[g]].left * cores[first[g + 1] - 1].right);
    for (std::size_t k = 0; k < cores.size(); ++k) {
      const bool before = k < first[g], behind = k >= first[g + 1];
      const bool has_rows = !before && !behind ? true : (direction == Direction::from_left ? before : behind);
      const bool has_cols = !before && !behind ? true : !has_rows;
      per_row *= static_cast<double>((has_rows ? cores[k].rows : 1) * (has_cols ? cores[k].cols : 1));
    }
    const bool ends_repeated_chain = direction == Direction::from_left ? first[g + 1] == cores.size() : first[g] == 0;
    total += per_row * (pass == Pass::apply ? 1 : ends_repeated_chain ? 2 : 3);
  }
  return total;
}

/// The least cost over all plans, one after another.
double least_cost(const std::vector<CoreShape>& cores, Pass pass) {
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t cuts = 0; cuts < std::size_t{1} << (cores.size() - 1); ++cuts) {
    std::vector<std::size_t> first{0};
    for (std::size_t k = 1; k < cores.size(); ++k) {
      if (cuts >> (k - 1) & 1) first.push_back(k);
    }
    first.push_back(cores.size());
    for (const auto direction : {Direction::from_left, Direction::from_right}) least = std::min(least, cost_of(cores, pass, direction, first));
  }
  return least;
}

const std::vector<std::vector<CoreShape>> many_shapes = {
    {{1, 6, 5, 1}},
    {{1, 2, 3, 4}, {4, 3, 2, 1}},
    {{1, 40, 1, 3}, {3, 1, 30, 1}},                                   // a low-rank matrix
    {{1, 1, 30, 3}, {3, 40, 1, 1}},                                   // one from the other side
    {{1, 8, 8, 2}, {2, 8, 8, 2}, {2, 8, 8, 1}},                       // site by site
    {{1, 2, 2, 2}, {2, 2, 2, 2}, {2, 2, 2, 2}, {2, 8, 16, 1}},        // small ones merged
    {{1, 4, 6, 24}, {24, 4, 6, 24}, {24, 4, 6, 1}},                   // full bonds: dense
    {{1, 9, 2, 3}, {3, 2, 2, 5}, {5, 2, 7, 4}, {4, 3, 2, 2}, {2, 1, 5, 1}},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(matrix_product_operators)

BOOST_AUTO_TEST_CASE(the_operator_is_the_product_of_its_cores_whichever_way_it_is_contracted) {
  for (const auto& shapes : many_shapes) {
    for (const Index padding : {0, 1}) {
      auto rows = -padding, cols = Index{1}, all_rows = Index{1};
      for (const auto& s : shapes) all_rows *= s.rows, cols *= s.cols;
      const auto w = random_mpo(shapes, rows += all_rows, RandomStream(1));
      const auto expected = by_definition(*w);
      BOOST_TEST(relative_difference(w->to_dense().view(), expected.view()) < bound(DType::f32, 100));
      Matrix<double> unit(cols, cols), columns(cols, rows), unit_rows(rows, rows), back(rows, cols), transposed(cols, rows);
      for (Index j = 0; j < cols; ++j) unit(j, j) = 1;
      for (Index i = 0; i < rows; ++i) unit_rows(i, i) = 1;
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j) transposed(j, i) = expected(i, j);
      }
      w->apply(ConstTensorView(std::as_const(unit).view()), TensorView(columns.view()));
      w->apply_adjoint(ConstTensorView(std::as_const(unit_rows).view()), TensorView(back.view()));
      BOOST_TEST(relative_difference(columns.view(), transposed.view()) < bound(DType::f64, 100));
      BOOST_TEST(relative_difference(back.view(), expected.view()) < bound(DType::f64, 100));
    }
  }
}

BOOST_AUTO_TEST_CASE(every_plan_gives_the_same_result_and_the_same_gradients) {
  const std::vector<CoreShape> shapes{{1, 3, 2, 3}, {3, 2, 2, 5}, {5, 2, 3, 2}, {2, 3, 2, 1}};
  std::vector<Tensor> cores;
  for (const auto& s : shapes) {
    const Tensor values = random_tensor({s.left, s.rows, s.cols, s.right}, RandomStream(4).child(cores.size()));
    convert(values.view(), cores.emplace_back(DType::f64, values.shape()).view());
  }
  const auto x = testing::random_matrix(7, 24, RandomStream(5)), dy = testing::random_matrix(7, 36, RandomStream(6));
  std::vector<Matrix<double>> y, dx;
  std::vector<std::vector<Tensor>> gradients;
  for (std::size_t cuts = 0; cuts < 8; ++cuts) {
    for (const auto direction : {Direction::from_left, Direction::from_right}) {
      ContractionPlan plan{direction, {0}, 0.0};
      for (std::size_t k = 1; k < 4; ++k) {
        if (cuts >> (k - 1) & 1) plan.first.push_back(k);
      }
      plan.first.push_back(4);
      const Contraction chain(plan, shapes, cores, DType::f64);
      chain.apply(ConstTensorView(x.view()), TensorView(y.emplace_back(7, 36).view()), linalg::Write::replace);
      auto sums = chain.zero_sums();
      chain.backward(ConstTensorView(x.view()), ConstTensorView(dy.view()), sums, TensorView(dx.emplace_back(7, 24).view()), linalg::Write::replace);
      std::vector<TensorView> views;
      gradients.emplace_back();
      for (const auto& core : cores) gradients.back().emplace_back(DType::f64, core.shape());
      for (auto& gradient : gradients.back()) views.push_back(gradient.view());
      chain.add_gradients(sums, cores, views);
      BOOST_TEST(relative_difference(y.back().view(), y.front().view()) < bound(DType::f64, 100));
      BOOST_TEST(relative_difference(dx.back().view(), dx.front().view()) < bound(DType::f64, 100));
      for (std::size_t k = 0; k < cores.size(); ++k)
        BOOST_TEST(relative_difference(gradients.back()[k].view(), gradients.front()[k].view()) < bound(DType::f64, 100));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_cheapest_plan_is_the_cheapest_of_all) {
  for (const auto& shapes : many_shapes) {
    for (const Pass pass : {Pass::apply, Pass::backward}) {
      const auto plan = cheapest_plan(shapes, pass);
      BOOST_TEST(plan.multiply_adds == cost_of(shapes, pass, plan.direction, plan.first));
      BOOST_TEST(plan.multiply_adds == least_cost(shapes, pass));
    }
  }
  BOOST_TEST(cheapest_plan(many_shapes[2], Pass::apply).multiply_adds == 3 * 30 + 40 * 3);
  BOOST_TEST((cheapest_plan(many_shapes[2], Pass::apply).direction == Direction::from_right));
  BOOST_TEST((cheapest_plan(many_shapes[3], Pass::apply).direction == Direction::from_left));
  BOOST_TEST(cheapest_plan(many_shapes[4], Pass::apply).num_groups() == 3u);
  BOOST_TEST(cheapest_plan(many_shapes[5], Pass::apply).num_groups() < 4u);
  BOOST_TEST(cheapest_plan(many_shapes[6], Pass::apply).num_groups() == 1u);
}

BOOST_AUTO_TEST_CASE(two_sites_are_a_sum_of_kronecker_products) {
  const auto w = random_mpo({{1, 3, 5, 2}, {2, 4, 4, 1}}, 0, RandomStream(1));
  const auto parts = w->parts();
  const auto left = parts.tensors.at("core0").values<float>();
  Tensor beside(DType::f32, {3, 10});
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 5; ++j) {
      for (Index k = 0; k < 2; ++k) beside.matrix<float>()(i, k * 5 + j) = left[static_cast<std::size_t>((i * 5 + j) * 2 + k)];
    }
  }
  Tensor right(DType::f32, {2, 4, 4});
  convert(parts.tensors.at("core1").view().block(0, 0, 32, 1), [&] { TensorView v = right.view(); v.rows = 32, v.cols = v.stride = 1; return v; }());
  const KroneckerSum sum(std::make_unique<Dense>(std::move(beside)), std::move(right));
  BOOST_TEST(relative_difference(w->to_dense().view(), sum.to_dense().view()) < bound(DType::f32, 2));
}

BOOST_AUTO_TEST_CASE(cores_that_do_not_fit_each_other_are_refused) {
  const auto message = [](std::vector<std::vector<Index>> shapes, Index rows) {
    return message_of([&] {
      std::vector<Tensor> cores;
      for (auto& shape : shapes) cores.push_back(random_tensor(shape, RandomStream(1)));
      Mpo(std::move(cores), rows);
    });
  };
  BOOST_TEST(message({}, 1) == "mpo: no cores");
  BOOST_TEST(message({{1, 2, 3, 2}, {3, 2, 2, 1}}, 4) == "mpo: core1 has 3 on its left, expected 2");
  BOOST_TEST(message({{2, 2, 3, 1}}, 2) == "mpo: core0 has 2 on its left, expected 1");
  BOOST_TEST(message({{1, 2, 3, 2}, {2, 2, 2, 2}}, 4) == "mpo: the last core has 2 on its right, expected 1");
  BOOST_TEST(message({{1, 2, 3, 2}, {2, 2, 2}}, 4) == "mpo: core1 is no array of floats with four extents, as the others");
  BOOST_TEST(message({{1, 2, 3, 2}, {2, 2, 2, 1}}, 5) == "mpo: 5 rows of an operator with 4");
  auto parts = random_mpo({{1, 3, 5, 2}, {2, 4, 4, 1}}, 0, RandomStream(1))->parts();
  parts.integers.clear();
  BOOST_TEST(message_of([&] { make_factorization(copy_of(parts)); }) == "factorization 'mpo': number 'rows' is missing");
  parts.integers["rows"] = 0;
  BOOST_TEST(message_of([&] { make_factorization(copy_of(parts)); }) == "factorization 'mpo': rows is 0, expected at least 1");
  parts.integers["rows"] = 12;
  parts.tensors["core7"] = std::move(parts.tensors.at("core1"));
  parts.tensors.erase("core1");
  BOOST_CHECK_THROW(make_factorization(std::move(parts)), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
