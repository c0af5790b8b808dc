#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "decompositions/permutation/rounding_objective.hpp"
#include "decompositions/permutation/shared_axis_objective.hpp"
#include "decompositions/registry.hpp"
#include "tests/decompositions/column_objective.hpp"
#include "tests/decompositions/configured.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::configured;
using kronlab::testing::grouping_of;
using kronlab::testing::message_of;
using kronlab::testing::random_matrix;
using kronlab::testing::search_of;

namespace {

constexpr auto float_eps = static_cast<double>(std::numeric_limits<float>::epsilon());
const std::vector<QuantisationGrid> grids{{.bits = 2, .group = 4},
                                          {.bits = 4, .group = 4, .symmetric = true},
                                          {.bits = 3, .group = 2},
                                          {.bits = 2, .group = 2, .symmetric = true}};

/// Some columns far larger than the others, scattered, and some with one sign only.
Matrix<double> uneven_weight(Index rows, Index cols, RandomStream random) {
  auto w = random_matrix(rows, cols, random);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      if (j % 3 == 0) w(i, j) *= 6;
      if (j % 5 == 0) w(i, j) = std::abs(w(i, j));
    }
  }
  return w;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(rounding_objectives)

BOOST_AUTO_TEST_CASE(what_is_lost_is_a_twelfth_of_the_square_of_each_groups_step) {
  Matrix<double> w(2, 4);
  const double values[] = {1, -2, 3, 0.5, 1, 1, 4, 2};
  std::ranges::copy(values, w.data());
  const QuantisationGrid grid{.bits = 2, .group = 2};
  const RoundingObjective objective(w, grid);
  // Ranges with 0 in them: 3 and 3, 1 and 4; three steps each.
  const double lost = 2 * (3 * 3 + 3 * 3 + 1 * 1 + 4 * 4) / 9.0 / 12.0;
  BOOST_TEST(std::abs(objective.value(identity_grouping(objective)) - (1 - lost / objective.energy())) < 1e-15);
  const RoundingObjective symmetric(w, {.bits = 2, .group = 2, .symmetric = true});
  const double lost_symmetric = 2 * 4 * (2 * 2 + 3 * 3 + 1 * 1 + 4 * 4) / 9.0 / 12.0;
  BOOST_TEST(std::abs(symmetric.value(identity_grouping(symmetric)) - (1 - lost_symmetric / symmetric.energy())) <
             1e-15);
  const RoundingObjective nothing(Matrix<double>(2, 4), grid);
  BOOST_TEST(nothing.value(identity_grouping(nothing)) == 1.0);
}

BOOST_AUTO_TEST_CASE(gains_and_worths_are_changes_of_the_value) {
  for (const auto& grid : grids) {
    auto w = uneven_weight(7, 24, RandomStream(1));
    for (Index i = 0; i < w.size(); i += 2) w.data()[i] = std::round(w.data()[i]);  // many are equal
    const RoundingObjective objective(w, grid);
    const auto grouping = grouping_of(objective, RandomStream(2).permutation(24));
    const auto moves = objective.moves(Axis::columns, grouping);
    const double kept = objective.value(grouping) * objective.energy(), bound = 100 * float_eps * objective.energy();
    BOOST_TEST(std::abs(moves->kept() - kept) < bound);
    const auto value_of = [&](const std::vector<Index>& order) {
      return objective.value(grouping_of(objective, order)) * objective.energy();
    };
    const auto at = [&](Index place) {
      return static_cast<std::size_t>(place % moves->num_groups() * moves->group() + place / moves->num_groups());
    };
    for (Index element = 0; element < 24; ++element) {
      const auto gains = moves->gains(element);
      for (Index place = 0; place < 24; ++place) {
        auto order = grouping.columns;
        std::swap(order[at(place)], order[at(moves->place_of(element))]);
        const auto gain = static_cast<double>(gains[static_cast<std::size_t>(place)]);
        BOOST_TEST(std::abs(gain - (value_of(order) - kept)) < bound);
      }
    }
    const Index groups = moves->num_groups();
    Matrix<float> worth(groups, groups);
    moves->worths(1, worth);
    std::vector<Index> elements;
    double sum = 0;
    for (Index g = 0; g < groups; ++g) {
      const Index from = (g + 1) % groups;
      elements.push_back(moves->element_at(groups + from));
      sum += static_cast<double>(worth(from, g));
    }
    moves->reassign(1, elements);
    BOOST_TEST(std::abs(moves->kept() - sum) < bound);
    BOOST_TEST(std::abs(moves->kept() - value_of(moves->order())) < bound);
    moves->swap(moves->element_at(0), 1);
    moves->refresh();
    BOOST_TEST(std::abs(moves->kept() - value_of(moves->order())) < bound);
    if (grid.group != 2) continue;
    std::vector<float> pairs(24);
    moves->pair_worths(3, pairs);
    Matrix<double> pair(7, 2);
    for (Index r = 0; r < 7; ++r) pair(r, 0) = w(r, 3), pair(r, 1) = w(r, 9);
    const RoundingObjective alone(pair, grid);
    BOOST_TEST(std::abs(static_cast<double>(pairs[9]) - alone.value(identity_grouping(alone)) * alone.energy()) <
               bound);
  }
}

BOOST_AUTO_TEST_CASE(searches_find_the_best_of_all_orders_of_a_few_columns_and_are_never_worse_than_none) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    for (const auto& grid : grids) {
      const auto w = uneven_weight(3, 8, RandomStream(seed));
      const RoundingObjective objective(w, grid);
      std::vector<Index> order(8);
      std::iota(order.begin(), order.end(), Index{0});
      double best = -1e300;
      do best = std::max(best, objective.value(grouping_of(objective, order)));
      while (std::ranges::next_permutation(order).found);
      const double none = objective.value(identity_grouping(objective));
      for (const std::string kind : {"identity", "norm-sort", "random", "swap-descent", "coordinate-assignment",
                                     "alternating", "anneal", "portfolio"}) {
        const auto found =
            search_of(fmt::format("kind = \"{}\"", kind)).search->search("test", objective, RandomStream(seed));
        BOOST_TEST(found.value >= none, kind);
        BOOST_TEST(found.value <= best + 1e-14, kind);
        if (kind == "portfolio") BOOST_TEST(found.value >= best - 1e-14, kind);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_norm_sort_puts_alike_columns_together_on_a_shared_axis_too) {
  Matrix<double> w(1, 6);
  const double values[] = {1, 10, 1.1, 9, 1.2, 11};
  std::ranges::copy(values, w.data());
  const RoundingObjective objective(w, {.bits = 4, .group = 3});
  BOOST_TEST(norm_sorted_grouping(objective).columns == (std::vector<Index>{5, 1, 3, 4, 2, 0}),
             boost::test_tools::per_element());
  const SharedAxisObjective shared({{&objective, Axis::columns, {0}}});
  BOOST_TEST(norm_sorted_grouping(shared).rows == (std::vector<Index>{5, 1, 3, 4, 2, 0}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_permuted_rounding_loses_less_and_about_what_the_search_says) {
  const auto w = uneven_weight(60, 48, RandomStream(4));
  Tensor weight(DType::f32, {60, 48});
  convert(w.view(), weight.view());
  LayerStatistics statistics;
  statistics.input_moments = Matrix<double>(48, 48);
  for (Index j = 0; j < 48; ++j) statistics.input_moments(j, j) = 1;
  for (const std::string keys :
       {"kind = \"rtn\"\nbits = 4\ngroup = 8\n", "kind = \"gptq\"\nbits = 4\ngroup = 8\nsymmetric = true\n"}) {
    const auto decomposer = configured(keys);
    const auto search = search_of("kind = \"swap-descent\"");
    const auto found = search.find(*decomposer, "w", weight.view(), statistics, RandomStream(5));
    const auto plain = decomposer->decompose("w", weight.view(), statistics),
               permuted = decompose_permuted(*decomposer, found, "w", weight.view(), statistics);
    BOOST_TEST(permuted.relative_error < 0.95 * plain.relative_error);
    // Rounding is spread over a step but nearly evenly, and a symmetric grid ends half a step before its largest value.
    BOOST_TEST(std::abs(permuted.relative_error / std::sqrt(1 - found.value) - 1) < 0.15);
    BOOST_TEST(permuted.factorization->stored_bytes() ==
               decomposer->size_of("w", 60, 48).stored_bytes + search.stored_bytes(*decomposer, "w", 60, 48));
  }
}

BOOST_AUTO_TEST_CASE(where_an_order_gains_nothing_or_does_not_suit_is_said) {
  const auto problem = [](const std::string& keys, Index cols) {
    return message_of([&] { grouping_problem_of(*configured(keys), "h.0", 8, cols); });
  };
  const std::string nothing = "`h.0`: '{}' gains nothing from a permutation: leave out permute";
  BOOST_TEST(problem("kind = \"rtn\"\nbits = 4", 32) == fmt::format(fmt::runtime(nothing), "rtn"));
  BOOST_TEST(problem("kind = \"rtn\"\nbits = 4\ngroup = 32", 32) == fmt::format(fmt::runtime(nothing), "rtn"));
  BOOST_TEST(problem("kind = \"gptq\"\nbits = 4\ngroup = 8\nactivation_order = true", 32) ==
             fmt::format(fmt::runtime(nothing), "gptq"));
  BOOST_TEST(problem("kind = \"gptq\"\nbits = 4\ngroup = 12", 32) ==
             "gptq: the 32 columns of `h.0` are not divisible by group (12), which a permutation needs");
  const auto search = search_of("kind = \"norm-sort\"; weighting = \"inputs\"");
  BOOST_TEST(message_of([&] {
               search.stored_bytes(*configured("kind = \"rtn\"\nbits = 4\ngroup = 8"), "h.0", 8, 32);
             }) == "`h.0`: a search for 'rtn' sees the ranges of the weight as it is: leave out weighting");
  BOOST_TEST(
      to_string(GroupingProblem{.right_cols = 8, .grid = QuantisationGrid{.bits = 3, .group = 8, .symmetric = true}}) ==
      "groups of 8 in 3 bits, symmetric");
}

BOOST_AUTO_TEST_SUITE_END()
