#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "framework/base/random.hpp"
#include "framework/linalg/assignment.hpp"
#include "framework/linalg/matching.hpp"

using namespace kronlab;
using linalg::best_assignment;
using linalg::best_matching;

namespace {

Matrix<float> random_worths(Index n, RandomStream random, bool with_ties = false) {
  Matrix<float> worth(n, n);
  for (Index i = 0; i < worth.size(); ++i) {
    worth.data()[i] = with_ties ? static_cast<float>(random.below(4)) : static_cast<float>(random.normal());
  }
  return worth;
}

Matrix<float> symmetric(Matrix<float> worth) {
  for (Index i = 0; i < worth.rows(); ++i) {
    for (Index j = 0; j < i; ++j) worth(i, j) = worth(j, i);
  }
  return worth;
}

double best_of_all_assignments(const Matrix<float>& worth) {
  std::vector<Index> order(static_cast<std::size_t>(worth.rows()));
  std::iota(order.begin(), order.end(), Index{0});
  double best = -std::numeric_limits<double>::infinity();
  do {
    double sum = 0;
    for (Index i = 0; i < worth.rows(); ++i) sum += static_cast<double>(worth(i, order[static_cast<std::size_t>(i)]));
    best = std::max(best, sum);
  } while (std::ranges::next_permutation(order).found);
  return best;
}

double best_of_all_matchings(const Matrix<float>& worth, std::vector<bool>& taken) {
  const auto first = std::ranges::find(taken, false);
  if (first == taken.end()) return 0;
  const auto i = static_cast<std::size_t>(first - taken.begin());
  taken[i] = true;
  double best = -std::numeric_limits<double>::infinity();
  for (std::size_t j = i + 1; j < taken.size(); ++j) {
    if (taken[j]) continue;
    taken[j] = true;
    best = std::max(best, static_cast<double>(worth(static_cast<Index>(i), static_cast<Index>(j))) + best_of_all_matchings(worth, taken));
    taken[j] = false;
  }
  taken[i] = false;
  return best;
}

/// Rounding of sums of n worths of about one.
double rounding(Index n) { return 16 * static_cast<double>(n) * std::numeric_limits<double>::epsilon(); }

}  // namespace

BOOST_AUTO_TEST_SUITE(matching)

BOOST_AUTO_TEST_CASE(an_assignment_is_the_best_of_all_and_its_prices_prove_it) {
  for (const bool with_ties : {false, true}) {
    for (Index n = 1; n <= 7; ++n) {
      for (std::uint64_t seed = 0; seed < 10; ++seed) {
        const auto worth = random_worths(n, RandomStream(seed).child(static_cast<std::uint64_t>(n)), with_ties);
        const auto found = best_assignment(worth);
        BOOST_TEST(std::abs(found.worth - best_of_all_assignments(worth)) <= rounding(n));
        auto columns = found.column_of_row;
        std::ranges::sort(columns);
        for (Index j = 0; j < n; ++j) BOOST_TEST(columns[static_cast<std::size_t>(j)] == j);
        double bound = 0;
        for (Index i = 0; i < n; ++i) {
          const auto row = static_cast<std::size_t>(i);
          bound += found.row_prices[row] + found.column_prices[row];
          for (Index j = 0; j < n; ++j) {
            BOOST_TEST(found.row_prices[row] + found.column_prices[static_cast<std::size_t>(j)] >= static_cast<double>(worth(i, j)) - rounding(n));
          }
        }
        BOOST_TEST(std::abs(bound - found.worth) <= rounding(n));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_large_assignment_is_bounded_by_its_prices) {
  const Index n = 200;
  const auto worth = random_worths(n, RandomStream(3));
  const auto found = best_assignment(worth);
  double bound = 0, least = 0;
  for (Index i = 0; i < n; ++i) {
    bound += found.row_prices[static_cast<std::size_t>(i)] + found.column_prices[static_cast<std::size_t>(i)];
    for (Index j = 0; j < n; ++j) {
      least = std::min(least, found.row_prices[static_cast<std::size_t>(i)] + found.column_prices[static_cast<std::size_t>(j)] - static_cast<double>(worth(i, j)));
    }
  }
  BOOST_TEST(least >= -rounding(n));
  BOOST_TEST(std::abs(bound - found.worth) <= rounding(n));
}

BOOST_AUTO_TEST_CASE(a_matching_is_the_best_of_all_and_its_bound_is_its_worth) {
  for (const bool with_ties : {false, true}) {
    for (Index n = 2; n <= 10; n += 2) {
      for (std::uint64_t seed = 0; seed < 10; ++seed) {
        const auto worth = symmetric(random_worths(n, RandomStream(seed).child(static_cast<std::uint64_t>(n)), with_ties));
        const auto found = best_matching(worth);
        std::vector<bool> taken(static_cast<std::size_t>(n), false);
        BOOST_TEST(std::abs(found.worth - best_of_all_matchings(worth, taken)) <= rounding(n));
        for (Index i = 0; i < n; ++i) {
          const Index j = found.partner[static_cast<std::size_t>(i)];
          BOOST_TEST(j != i);
          BOOST_TEST(found.partner[static_cast<std::size_t>(j)] == i);
        }
        BOOST_TEST(found.bound >= found.worth - rounding(n));
        BOOST_TEST(found.bound <= found.worth + static_cast<double>(n) * 8 * std::ldexp(1.0, -40));
      }
    }
  }
  BOOST_TEST(best_matching(Matrix<float>(0, 0)).partner.empty());
  BOOST_TEST(best_matching(Matrix<float>(4, 4)).worth == 0);  // equal worths
}

BOOST_AUTO_TEST_CASE(a_large_matching_of_vectors_by_their_inner_products_is_proved) {
  // Odd cycles of near-equal worths: vectors in a plane, where blossoms are needed.
  const Index n = 300;
  RandomStream random(5);
  Matrix<float> points(n, 2), worth(n, n);
  for (Index i = 0; i < points.size(); ++i) points.data()[i] = static_cast<float>(random.normal());
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) worth(i, j) = -std::hypot(points(i, 0) - points(j, 0), points(i, 1) - points(j, 1));
  }
  const auto found = best_matching(worth);
  BOOST_TEST(found.bound >= found.worth);
  BOOST_TEST(found.bound - found.worth <= static_cast<double>(n) * 8 * std::ldexp(1.0, -40));
  BOOST_CHECK_THROW(best_matching(Matrix<float>(3, 3)), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()
