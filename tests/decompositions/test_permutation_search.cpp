#include <omp.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "decompositions/permutation/kronecker_objective.hpp"
#include "decompositions/permutation/permutation_search.hpp"
#include "decompositions/permutation/sweeps.hpp"
#include "decompositions/permuted.hpp"
#include "framework/linalg/svd.hpp"
#include "framework/storage/safetensors.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

std::vector<std::unique_ptr<PermutationSearch>> all_searches() {
  std::vector<std::unique_ptr<PermutationSearch>> searches;
  searches.push_back(make_identity_search());
  searches.push_back(make_random_search(10));
  searches.push_back(make_norm_sort_search());
  searches.push_back(make_swap_descent_search());
  searches.push_back(make_coordinate_assignment_search());
  searches.push_back(make_alternating_search({.num_rounds = 2}));
  searches.push_back(make_alternating_search({.num_rounds = 2, .step = AlternatingOptions::Step::random}));
  searches.push_back(make_anneal_search({.num_temperatures = 4, .num_sweeps = 2}));
  searches.push_back(make_portfolio_search({.num_temperatures = 4, .num_sweeps = 2}));
  return searches;
}

std::vector<Index> identity_order(Index n) {
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index{0});
  return order;
}

Tensor product_of(const std::vector<float>& left, const std::vector<float>& right) {
  Tensor w(DType::f32, {static_cast<Index>(left.size()), static_cast<Index>(right.size())});
  for (std::size_t i = 0; i < left.size(); ++i) {
    for (std::size_t j = 0; j < right.size(); ++j) w.values<float>()[i * right.size() + j] = left[i] * right[j];
  }
  return w;
}

Tensor transposed(ConstTensorView a) {
  Tensor t(DType::f32, {a.cols, a.rows});
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.cols; ++j) t.matrix<float>()(j, i) = a.as<float>()(i, j);
  }
  return t;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(permutation_search)

BOOST_AUTO_TEST_CASE(value_is_the_energy_in_the_leading_singular_values_of_the_rearranged_weight) {
  const auto w = random_matrix(6, 8, RandomStream(1));
  const KroneckerObjective objective(w, {2, 4, 3});
  const auto s = linalg::truncated_svd(rearrange(w.view(), 3, 2), 3).singular_values;
  const double expected = (s[0] * s[0] + s[1] * s[1] + s[2] * s[2]) / objective.energy();
  BOOST_TEST(std::abs(objective.value({identity_order(6), identity_order(8)}) - expected) <
             48 * std::numeric_limits<double>::epsilon());
}

/// <P, G' - G> and f(G') - f(G) of two groupings, with P of the first.
struct Change {
  double linear = 0.0, exact = 0.0;
};
Change change_of(const KroneckerObjective& objective, const Grouping& before, const Grouping& after) {
  const auto g = objective.gram(before), moved = objective.gram(after), p = objective.projector(g);
  Change change;
  for (Index k = 0; k < p.size(); ++k) change.linear += p.data()[k] * (moved.data()[k] - g.data()[k]);
  change.exact = (objective.value(after) - objective.value(before)) * objective.energy();
  return change;
}

/// Groups of each axis, so that both ways to make rows of H and every group up to four are met.
const std::vector<std::pair<Index, Index>> group_sizes{{2, 1}, {2, 2}, {2, 4}, {3, 2}, {4, 2}, {4, 3}, {4, 1}};

BOOST_AUTO_TEST_CASE(gains_of_the_fixed_projector_are_exact_and_bound_the_gain_of_the_energy_from_below) {
  for (const auto& [group, other] : group_sizes) {
    for (const auto axis : {Axis::rows, Axis::columns}) {
      BOOST_TEST_CONTEXT("groups of " << group << " along " << (axis == Axis::rows ? "rows" : "columns") << ", of " << other << " along the others") {
        const bool by_rows = axis == Axis::rows;
        const auto w = by_rows ? random_matrix(12, 12 * other, RandomStream(3)) : random_matrix(12 * other, 12, RandomStream(3));
        const GroupingProblem problem{by_rows ? group : other, by_rows ? other : group, std::min<Index>(3, group * other - 1)};
        const KroneckerObjective objective(w, problem);
        RandomStream random(5);
        const Grouping before{random.permutation(w.rows()), random.permutation(w.cols())};
        const auto moves = objective.moves(axis, before);
        const double tolerance = 16 * 12 * std::numeric_limits<float>::epsilon() * objective.energy();
        BOOST_TEST(std::abs(moves->kept() - objective.value(before) * objective.energy()) < tolerance);
        for (Index element = 0; element < 12; ++element) {
          for (Index place = 0; place < 12; ++place) {
            const float gain = moves->gains(element)[static_cast<std::size_t>(place)];
            const Index home = moves->place_of(element);
            moves->swap(element, place);
            Grouping after = before;
            after.of(axis) = moves->order();
            const auto change = change_of(objective, before, after);
            BOOST_TEST(std::abs(static_cast<double>(gain) - change.linear) < tolerance);
            BOOST_TEST(change.exact > static_cast<double>(gain) - tolerance);
            // What was kept up by swaps is what a fresh start has.
            const auto fresh = objective.moves(axis, before);
            moves->swap(element, home);
            for (Index k = 0; k < 12; ++k) {
              BOOST_TEST(std::abs(moves->gains(element)[static_cast<std::size_t>(k)] - fresh->gains(element)[static_cast<std::size_t>(k)]) < tolerance);
            }
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(worths_of_a_position_and_of_pairs_are_what_moves_change) {
  for (const auto& [group, other] : group_sizes) {
    const auto w = random_matrix(12, 12 * other, RandomStream(7));
    const KroneckerObjective objective(w, {group, other, std::min<Index>(2, group * other - 1)});
    RandomStream random(5);
    const Grouping before{random.permutation(w.rows()), random.permutation(w.cols())};
    const auto moves = objective.moves(Axis::rows, before);
    const double tolerance = 16 * 12 * std::numeric_limits<float>::epsilon() * objective.energy();
    const Index n = moves->num_groups();
    for (Index position = 0; position < group; ++position) {
      Matrix<float> worth(n, n);
      moves->worths(position, worth);
      std::vector<Index> elements;  // each to the next group
      double expected = 0;
      for (Index g = 0; g < n; ++g) {
        elements.push_back(moves->element_at(position * n + (g + 1) % n));
        expected += static_cast<double>(worth((g + 1) % n, g)) - static_cast<double>(worth(g, g));
      }
      moves->reassign(position, elements);
      const Grouping after{moves->order(), before.columns};
      BOOST_TEST(std::abs(change_of(objective, before, after).linear - expected) < tolerance);
      moves->restart(before);
    }
    if (group != 2) continue;
    std::vector<float> worth(12);
    double linear = 0;
    for (Index g = 0; g < n; ++g) {
      moves->pair_worths(before.rows[static_cast<std::size_t>(2 * g)], worth);
      linear += static_cast<double>(worth[static_cast<std::size_t>(before.rows[static_cast<std::size_t>(2 * g + 1)])]);
    }
    BOOST_TEST(std::abs(linear - moves->kept()) < tolerance);
  }
}

BOOST_AUTO_TEST_CASE(a_search_finds_the_same_with_any_number_of_threads_and_the_same_seed) {
  const Tensor w = random_tensor({520, 64}, RandomStream(6));
  const auto search = make_portfolio_search({.num_temperatures = 2, .num_sweeps = 1});
  const int before = omp_get_max_threads();
  for (const GroupingProblem& problem : {GroupingProblem{2, 4, 4}, {4, 2, 4}, {2, 1, 1}}) {
    std::vector<SearchResult> found;
    for (const int threads : {1, 2, 3}) {
      omp_set_num_threads(threads);
      found.push_back(search->search("w", w.view(), problem, RandomStream(1)));
    }
    for (const auto& other : found) {
      BOOST_TEST(other.rows == found[0].rows);
      BOOST_TEST(other.columns == found[0].columns);
      BOOST_TEST(other.value == found[0].value);
    }
  }
  omp_set_num_threads(before);
}

BOOST_AUTO_TEST_CASE(a_matching_of_pairs_is_the_best_of_all_and_certified) {
  for (const auto& [problem, rows, cols] : {std::tuple{GroupingProblem{2, 1, 1}, 8, 5}, {GroupingProblem{1, 2, 1}, 5, 8}}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const Tensor w = random_tensor({rows, cols}, RandomStream(seed));
      const auto wide = to_matrix<double>(w.view());
      const KroneckerObjective objective(wide, problem);
      const auto axis = problem.right_rows == 2 ? Axis::rows : Axis::columns;
      Grouping grouping = identity_grouping(objective);
      double best = 0;
      do best = std::max(best, objective.value(grouping));
      while (std::ranges::next_permutation(grouping.of(axis)).found);
      const auto found = make_matching_search({.gap = 1e-5})->search("w", w.view(), problem, RandomStream(1));
      BOOST_REQUIRE(found.bound.has_value());
      BOOST_TEST(*found.bound >= best);
      BOOST_TEST(*found.bound <= found.value + 1e-5 + 1e-6);
      BOOST_TEST(found.value <= best + 1e-12);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_planted_product_with_pairs_is_found_to_rounding_error) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    for (const bool by_rows : {false, true}) {
      RandomStream random = RandomStream(seed).child(by_rows ? "rows" : "columns");
      const Index m = by_rows ? 64 : 32, n = by_rows ? 32 : 64;
      const auto a = random_matrix(32, 32, random.child("a"));
      const double b[2] = {random.normal(), random.normal()};
      const auto rows = random.permutation(m), columns = random.permutation(n);
      Tensor w(DType::f32, {m, n});
      for (Index i = 0; i < m; ++i) {
        for (Index j = 0; j < n; ++j) {
          const Index r = rows[static_cast<std::size_t>(i)], c = columns[static_cast<std::size_t>(j)];
          w.matrix<float>()(i, j) = static_cast<float>(by_rows ? a(r / 2, c) * b[r % 2] : a(r, c / 2) * b[c % 2]);
        }
      }
      const GroupingProblem problem{by_rows ? 2 : 1, by_rows ? 1 : 2, 1};
      const auto found = make_matching_search({})->search("w", w.view(), problem, RandomStream(1));
      BOOST_TEST(1 - found.value < 64 * std::numeric_limits<float>::epsilon() * std::numeric_limits<float>::epsilon());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_matching_for_the_present_projector_never_loses_and_needs_groups_of_two) {
  const Tensor w = random_tensor({24, 32}, RandomStream(4));
  const GroupingProblem problem{2, 4, 4};
  const auto found = make_matching_search({})->search("w", w.view(), problem, RandomStream(1));
  BOOST_TEST(found.value > found.start_value);
  BOOST_TEST(!found.bound.has_value());
  BOOST_CHECK_THROW(make_matching_search({})->search("w", w.view(), {4, 4, 4}, RandomStream(1)), ConfigError);
  BOOST_CHECK_THROW(make_matching_search({.gap = 0}), ConfigError);
}

BOOST_AUTO_TEST_CASE(a_heat_bath_draws_groupings_with_the_probabilities_of_boltzmann) {
  // Four elements in two groups: three partitions of two pairs, by one term that does not tell positions apart.
  const auto w = random_matrix(4, 6, RandomStream(2));
  const KroneckerObjective objective(w, {2, 1, 2});  // all terms: every grouping keeps all
  const auto flat = objective.moves(Axis::rows, identity_grouping(objective));
  RandomStream random(9);
  std::map<std::vector<Index>, int> seen;
  const int sweeps = 6000;
  const std::vector<double> temperatures(4, 1.0);
  for (int sweep = 0; sweep < sweeps; ++sweep) heat_bath(*flat, temperatures, random), ++seen[flat->order()];
  BOOST_TEST(seen.size() == 24u);
  // Each has probability 1/24; consecutive sweeps are nearly independent, so five standard deviations.
  const double mean = sweeps / 24.0;
  for (const auto& [order, times] : seen) BOOST_TEST(std::abs(times - mean) < 5 * std::sqrt(2 * mean));
}

BOOST_AUTO_TEST_CASE(products_with_the_fit_are_those_of_the_decomposed_weight) {
  const Tensor w = random_tensor({12, 16}, RandomStream(5));
  const auto wide = to_matrix<double>(w.view());
  const KroneckerObjective objective(wide, {2, 4, 3});
  RandomStream random(6);
  const Grouping grouping{random.permutation(12), random.permutation(16)};
  SearchResult found;
  found.rows = grouping.rows, found.columns = grouping.columns;
  const auto fit = decompose_permuted(*make_kronecker_decomposer({6, 4, 3}), found, "w", w.view(), {}).factorization->to_dense();
  for (const auto axis : {Axis::rows, Axis::columns}) {
    const auto products = objective.products_with_fit(axis, grouping);
    for (Index i = 0; i < products.rows(); ++i) {
      for (Index p = 0; p < products.rows(); ++p) {
        const Index other = grouping.of(axis)[static_cast<std::size_t>(p)];
        double expected = 0;
        for (Index k = 0; k < (axis == Axis::rows ? 16 : 12); ++k) {
          expected += axis == Axis::rows ? wide(i, k) * static_cast<double>(fit.matrix<float>()(other, k))
                                         : wide(k, i) * static_cast<double>(fit.matrix<float>()(k, other));
        }
        BOOST_TEST(std::abs(static_cast<double>(products(i, p)) - expected) < 64 * std::numeric_limits<float>::epsilon() * objective.energy());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(at_the_temperature_for_an_acceptance_that_share_of_elements_moves) {
  const Tensor w = random_tensor({64, 48}, RandomStream(2));
  const auto wide = to_matrix<double>(w.view());
  const KroneckerObjective objective(wide, {2, 4, 4});
  const auto energies = objective.energies(Axis::rows);
  BOOST_TEST(std::abs(std::accumulate(energies.begin(), energies.end(), 0.0) - objective.energy()) < 1e-12 * objective.energy());
  const auto start = make_swap_descent_search()->search("w", w.view(), {2, 4, 4}, RandomStream(1));
  const Grouping grouping{start.rows, start.columns};
  const auto moves = objective.moves(Axis::rows, grouping);
  const double factor = temperature_for(*moves, energies, 0.3);
  auto temperatures = energies;
  for (double& temperature : temperatures) temperature *= factor;
  RandomStream random(3);
  Index moved = 0;
  const int sweeps = 200;
  for (int sweep = 0; sweep < sweeps; ++sweep) {  // each element once, from the same grouping
    const Index i = sweep % 64;
    std::vector<double> frozen(64, 0.0);
    frozen[static_cast<std::size_t>(i)] = temperatures[static_cast<std::size_t>(i)];
    const Index place = moves->place_of(i);
    heat_bath(*moves, frozen, random);
    moved += moves->place_of(i) != place;
    moves->restart(grouping);
  }
  // Of 200 draws at probabilities with mean 0.3, five standard deviations.
  BOOST_TEST(std::abs(static_cast<double>(moved) - 0.3 * sweeps) < 5 * std::sqrt(0.3 * 0.7 * sweeps));
}

BOOST_AUTO_TEST_CASE(the_portfolio_is_never_worse_than_its_parts_alone) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const Tensor w = random_tensor({32, 48}, RandomStream(seed));
    const AnnealOptions options{.num_temperatures = 4, .num_sweeps = 1};
    const auto value = [&](const PermutationSearch& search) { return search.search("w", w.view(), {2, 4, 4}, RandomStream(seed)).value; };
    const double all = value(*make_portfolio_search(options));
    BOOST_TEST(all >= value(*make_anneal_search(options)));
    BOOST_TEST(all >= value(*make_coordinate_assignment_search()));
  }
}

BOOST_AUTO_TEST_CASE(
    no_search_beats_the_best_of_all_row_orders_and_each_returns_a_permutation_no_worse_than_its_start) {
  const Tensor w = random_tensor({6, 4}, RandomStream(7));
  const auto wide = to_matrix<double>(w.view());
  const GroupingProblem problem{2, 1, 1};
  const KroneckerObjective objective(wide, problem);
  double best = 0;
  auto order = identity_order(6);
  do best = std::max(best, objective.value({order, identity_order(4)}));
  while (std::ranges::next_permutation(order).found);
  for (const auto& search : all_searches()) {
    const auto found = search->search("w", w.view(), problem, RandomStream(9));
    expect_permutation(found.rows, 6, "rows");
    expect_permutation(found.columns, 4, "columns");
    BOOST_TEST(found.value <= best * (1 + 100 * std::numeric_limits<double>::epsilon()));
    BOOST_TEST(found.value >= found.start_value - 100 * std::numeric_limits<double>::epsilon());
    for (std::size_t i = 1; i < found.curve.size(); ++i) BOOST_TEST(found.curve[i].value >= found.curve[i - 1].value);
  }
}

BOOST_AUTO_TEST_CASE(swap_descent_improves_on_the_norm_sort_and_its_value_is_the_error_of_the_decomposition) {
  const Tensor w = random_tensor({32, 48}, RandomStream(11));
  const GroupingProblem problem{2, 4, 4};
  const auto sorted = make_norm_sort_search()->search("w", w.view(), problem, RandomStream(1));
  const auto found = make_swap_descent_search()->search("w", w.view(), problem, RandomStream(1));
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
  const auto search = make_swap_descent_search();
  const auto cut = search->search("w", w.view(), {2, 4, 4}, RandomStream(1), {.max_evaluations = 100});
  BOOST_TEST((cut.convergence.reason == Convergence::Reason::max_iterations));
  BOOST_TEST(cut.value >= cut.start_value - 100 * std::numeric_limits<double>::epsilon());  // groups in another sequence
  BOOST_CHECK_THROW(search->search("w", w.view(), {3, 4, 4}, RandomStream(1)), ConfigError);
  BOOST_CHECK_THROW(search->search("w", w.view(), {2, 4, 9}, RandomStream(1)), ConfigError);
  const Tensor zero(DType::f32, {8, 8});
  BOOST_TEST(search->search("w", zero.view(), {2, 4, 4}, RandomStream(1)).value == 1.0);
  Tensor bad = random_tensor({8, 8}, RandomStream(1));
  bad.values<float>()[3] = std::numeric_limits<float>::infinity();
  BOOST_CHECK_THROW(search->search("w", bad.view(), {2, 4, 4}, RandomStream(1)), DataError);
}

BOOST_AUTO_TEST_CASE(special_weights_and_extreme_groups_give_valid_orders_and_true_values) {
  std::vector<std::pair<const char*, Tensor>> weights;
  weights.emplace_back("zero", Tensor(DType::f32, {8, 12}));
  weights.emplace_back("constant", product_of(std::vector<float>(8, 2.0F), std::vector<float>(12, 1.0F)));
  weights.emplace_back("rank one", product_of({1, -2, 3, 0, 5, 1e-3F, 7, -8}, {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8}));
  weights.emplace_back("normal", random_tensor({8, 12}, RandomStream(3)));
  for (const auto& [name, w] : weights) {
    const auto wide = to_matrix<double>(w.view());
    // One group on an axis, groups of one element, as many terms as the right factor has elements.
    for (const GroupingProblem& problem :
         {GroupingProblem{2, 3, 2}, {8, 1, 1}, {1, 12, 1}, {1, 1, 1}, {8, 12, 96}, {2, 2, 4}}) {
      for (const auto& search : all_searches()) {
        BOOST_TEST_CONTEXT(search->kind() << " of a weight that is " << name << ", groups of " << problem.right_rows
                                          << " x " << problem.right_cols) {
          const auto found = search->search("w", w.view(), problem, RandomStream(9));
          expect_permutation(found.rows, 8, "rows");
          expect_permutation(found.columns, 12, "columns");
          const double rounding = 96 * std::numeric_limits<double>::epsilon();
          BOOST_TEST(std::abs(found.value - KroneckerObjective(wide, problem).value({found.rows, found.columns})) <=
                     rounding);
          BOOST_TEST(found.value >= found.start_value - rounding);
          BOOST_REQUIRE(!found.curve.empty());
          BOOST_TEST(std::abs(found.curve.back().value - found.value) <= rounding);
          for (std::size_t i = 1; i < found.curve.size(); ++i)
            BOOST_TEST(found.curve[i].value >= found.curve[i - 1].value);
          // What is known to be exact: equal entries in any groups, and anything with all terms.
          const bool is_exact = std::string(name) == "zero" || std::string(name) == "constant" ||
                                problem.num_terms == problem.right_rows * problem.right_cols;
          if (is_exact) BOOST_TEST(std::abs(found.value - 1) <= rounding);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(budgets_end_a_search_and_say_so) {
  const Tensor w = random_tensor({32, 48}, RandomStream(11));
  for (const Index evaluations : {1, 2, 31, 1000}) {
    for (const auto& search : all_searches()) {
      const auto cut = search->search("w", w.view(), {2, 4, 4}, RandomStream(1), {.max_evaluations = evaluations});
      if (search->kind() == "swap-descent") BOOST_TEST(cut.evaluated < evaluations + 48 * 47);  // a sweep at a time
      if (search->kind() == "random") BOOST_TEST(cut.evaluated <= evaluations);
      if (search->kind() == "swap-descent" || (search->kind() == "random" && evaluations < 10)) {
        BOOST_TEST((cut.convergence.reason == Convergence::Reason::max_iterations));
      }
    }
  }
  for (const auto& search : all_searches()) {
    if (search->kind() == "identity" || search->kind() == "norm-sort") continue;
    const auto cut = search->search("w", w.view(), {2, 4, 4}, RandomStream(1), {.time_limit_s = 1e-9});
    BOOST_TEST((cut.convergence.reason == Convergence::Reason::time_limit));
    BOOST_TEST(cut.value >= cut.start_value - 100 * std::numeric_limits<double>::epsilon());
  }
  BOOST_CHECK_THROW(make_random_search(0), ConfigError);
}

BOOST_AUTO_TEST_CASE(a_search_sees_columns_and_rows_scaled_by_the_roots_of_their_damped_moments) {
  const Tensor w = random_tensor({2, 3}, RandomStream(3));
  LayerStatistics statistics;
  statistics.input_moments = Matrix<double>(3, 3);
  for (Index j = 0; j < 3; ++j) statistics.input_moments(j, j) = static_cast<double>((j + 1) * (j + 1));
  statistics.gradient_moments = Matrix<double>(1, 2);
  statistics.gradient_moments(0, 1) = 16;
  const auto at = [](const Tensor& tensor, Index i, Index j) { return tensor.matrix<float>()(i, j); };
  const Tensor plain = weighted("w", w.view(), Weighting::none, {}),
               inputs = weighted("w", w.view(), Weighting::inputs, statistics, {.inputs = 0, .gradient = 0}),
               both = weighted("w", w.view(), Weighting::two_sided, statistics, {.inputs = 0, .gradient = 1.125});
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) {
      BOOST_TEST(at(plain, i, j) == at(w, i, j));
      BOOST_TEST(at(inputs, i, j) == at(w, i, j) * static_cast<float>(j + 1));
      BOOST_TEST(at(both, i, j) == at(inputs, i, j) * (i == 1 ? 5.0F : 3.0F));  // 1.125 times the mean of 8 is added
    }
  }
  BOOST_CHECK_THROW(weighted("w", w.view(), Weighting::inputs, {}), DataError);
  statistics.gradient_moments = Matrix<double>(3, 3);
  BOOST_CHECK_THROW(weighted("w", w.view(), Weighting::two_sided, statistics), DataError);
  statistics.input_moments(1, 1) = std::numeric_limits<double>::quiet_NaN();
  BOOST_CHECK_THROW(weighted("w", w.view(), Weighting::inputs, statistics), DataError);
}

BOOST_AUTO_TEST_CASE(an_axis_that_stays_as_it_is_costs_no_bytes) {
  const Tensor w = random_tensor({8, 12}, RandomStream(3));
  const auto decomposer = make_kronecker_decomposer({4, 12, 1});
  const auto found =
      make_swap_descent_search()->search("w", w.view(), *decomposer->grouping_problem("w", 8, 12), RandomStream(1));
  BOOST_TEST(found.columns == identity_order(12));
  const auto result = decompose_permuted(*decomposer, found, "w", w.view(), {});
  const Index inner = decomposer->size_of("w", 8, 12).stored_bytes;
  BOOST_TEST(result.factorization->stored_bytes() == inner + (found.rows == identity_order(8) ? 0 : 4 * 8));
  const auto same = make_identity_search()->search("w", w.view(), {2, 1, 1}, RandomStream(1));
  BOOST_TEST(decompose_permuted(*decomposer, same, "w", w.view(), {}).factorization->stored_bytes() == inner);
}

/// Kept energies of trained weights, from an independent implementation, to two digits.
BOOST_AUTO_TEST_CASE(swap_descent_beats_the_norm_sort_on_a_trained_attention_matrix) {
  KRONLAB_NEEDS_DATA(path, "models/gpt2-small-attention/attention_h0_h5_h11.safetensors");
  const auto fused = storage::SafetensorsFile(path.string()).load("h.0.attn.c_attn.weight");  // [in, (q, k, v)]
  const Tensor value = transposed(fused.view().block(0, 2 * 768, 768, 768));
  const GroupingProblem problem{2, 4, 4};
  const auto error_of = [&](const PermutationSearch& search) {
    return std::sqrt(1 - search.search("h.0.attn.c_attn[v]", value.view(), problem, RandomStream(1)).value);
  };
  const double identity = error_of(*make_identity_search()), sorted = error_of(*make_norm_sort_search());
  const double found = error_of(*make_swap_descent_search());
  BOOST_TEST_MESSAGE("identity " << identity << ", norm-sort " << sorted << ", swap-descent " << found);
  BOOST_TEST(std::abs(identity - 0.70) < 0.01);
  BOOST_TEST(std::abs(sorted - 0.57) < 0.01);
  BOOST_TEST(found < sorted - 0.01);
}

BOOST_AUTO_TEST_SUITE_END()
