#include <boost/test/unit_test.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "decompositions/permutation/kronecker_objective.hpp"
#include "decompositions/permutation/starts.hpp"
#include "decompositions/permuted.hpp"
#include "framework/linalg/svd.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

BOOST_AUTO_TEST_SUITE(permutation_search)

BOOST_AUTO_TEST_CASE(value_is_the_energy_in_the_leading_singular_values_of_the_rearranged_weight) {
  const auto w = random_matrix(6, 8, RandomStream(1));
  const KroneckerObjective objective(w, {2, 4, 3});
  const auto s = linalg::truncated_svd(rearrange(w.view(), 3, 2), 3).singular_values;
  const double expected = (s[0] * s[0] + s[1] * s[1] + s[2] * s[2]) / objective.energy();
  BOOST_TEST(std::abs(objective.value(identity_order(6), identity_order(8)) - expected) < 48 * std::numeric_limits<double>::epsilon());
}

BOOST_AUTO_TEST_CASE(gains_of_the_fixed_projector_are_exact_and_bound_the_gain_of_the_energy_from_below) {
  for (const Index group : {2, 4}) {
    const GroupingProblem problem{group, 2, 3};
    const auto w = random_matrix(8, 6, RandomStream(3));
    const KroneckerObjective objective(w, problem);
    const auto columns = identity_order(6);
    auto order = RandomStream(5).permutation(8);
    const auto g = objective.gram(order, columns);
    const auto p = objective.projector(g);
    SwapEngine engine(w.view(), group, 2);
    engine.refresh(p, order);
    const double tolerance = 8 * 8 * std::numeric_limits<float>::epsilon() * objective.energy();
    for (Index i = 0; i < 8; ++i) {
      const auto gains = engine.gains(order[static_cast<std::size_t>(i)]);
      for (Index j = 0; j < 8; ++j) {
        auto swapped = order;
        std::swap(swapped[static_cast<std::size_t>(i)], swapped[static_cast<std::size_t>(j)]);
        const auto moved = objective.gram(swapped, columns);
        double exact = 0;
        for (Index k = 0; k < p.size(); ++k) exact += p.data()[k] * (moved.data()[k] - g.data()[k]);
        const double gain = gains[static_cast<std::size_t>(order[static_cast<std::size_t>(j)])];
        BOOST_TEST(std::abs(gain - exact) < tolerance);
        const double change = (objective.value(swapped, columns) - objective.value(order, columns)) * objective.energy();
        BOOST_TEST(change > gain - tolerance);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(no_search_beats_the_best_of_all_row_orders_and_each_returns_a_permutation_no_worse_than_its_start) {
  const Tensor w = random_tensor({6, 4}, RandomStream(7));
  const auto wide = to_matrix<double>(w.view());
  const GroupingProblem problem{2, 1, 1};
  const KroneckerObjective objective(wide, problem);
  double best = 0;
  auto order = identity_order(6);
  do best = std::max(best, objective.value(order, identity_order(4)));
  while (std::ranges::next_permutation(order).found);
  for (const char* kind : {"identity", "random", "norm-sort", "swap-descent"}) {
    const auto found = make_search(kind)->search("w", w.view(), problem, RandomStream(9));
    expect_permutation(found.rows, 6, "rows");
    expect_permutation(found.columns, 4, "columns");
    BOOST_TEST(found.value <= best * (1 + 100 * std::numeric_limits<double>::epsilon()));
    if (std::string(kind) != "norm-sort") BOOST_TEST(found.value >= found.start_value - 100 * std::numeric_limits<double>::epsilon());
    for (std::size_t i = 1; i < found.curve.size(); ++i) BOOST_TEST(found.curve[i].value >= found.curve[i - 1].value);
  }
}

BOOST_AUTO_TEST_CASE(swap_descent_improves_on_the_norm_sort_and_its_value_is_the_error_of_the_decomposition) {
  const Tensor w = random_tensor({32, 48}, RandomStream(11));
  const GroupingProblem problem{2, 4, 4};
  const auto sorted = make_search("norm-sort")->search("w", w.view(), problem, RandomStream(1));
  const auto found = make_search("swap-descent")->search("w", w.view(), problem, RandomStream(1));
  BOOST_TEST(found.value > sorted.value);
  BOOST_TEST((found.convergence.reason == Convergence::Reason::converged));
  const auto decomposer = make_kronecker_decomposer({16, 12, 4});
  const auto result = decompose_permuted(*decomposer, found, "w", w.view(), {});
  BOOST_TEST(std::abs(result.relative_error - std::sqrt(1 - found.value)) < 48 * std::numeric_limits<float>::epsilon());
  BOOST_TEST(std::abs(relative_difference(result.factorization->to_dense().view(), w.view()) - result.relative_error) <
             48 * std::numeric_limits<float>::epsilon());
  BOOST_TEST(result.factorization->stored_bytes() == decomposer->size_of("w", 32, 48).stored_bytes + 4 * (32 + 48));
}

BOOST_AUTO_TEST_CASE(a_budget_stops_the_search_and_bad_input_is_refused) {
  const Tensor w = random_tensor({32, 48}, RandomStream(11));
  const auto search = make_search("swap-descent");
  const auto cut = search->search("w", w.view(), {2, 4, 4}, RandomStream(1), {.max_evaluations = 100});
  BOOST_TEST((cut.convergence.reason == Convergence::Reason::max_iterations));
  BOOST_TEST(cut.value >= cut.start_value);
  BOOST_CHECK_THROW(search->search("w", w.view(), {3, 4, 4}, RandomStream(1)), ConfigError);
  BOOST_CHECK_THROW(search->search("w", w.view(), {2, 4, 9}, RandomStream(1)), ConfigError);
  BOOST_CHECK_THROW(make_search("anealing"), ConfigError);
  const Tensor zero(DType::f32, {8, 8});
  BOOST_TEST(search->search("w", zero.view(), {2, 4, 4}, RandomStream(1)).value == 1.0);
  Tensor bad = random_tensor({8, 8}, RandomStream(1));
  bad.values<float>()[3] = std::numeric_limits<float>::infinity();
  BOOST_CHECK_THROW(search->search("w", bad.view(), {2, 4, 4}, RandomStream(1)), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
