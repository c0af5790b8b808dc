#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "decompositions/permutation/pruning_objective.hpp"
#include "decompositions/registry.hpp"
#include "framework/config/value.hpp"
#include "tests/decompositions/column_objective.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::grouping_of;
using kronlab::testing::random_matrix;
using kronlab::testing::search_of;

namespace {

constexpr float float_eps = std::numeric_limits<float>::epsilon();

/// The best over all orders of at most 8 columns.
double best_of_all(const PruningObjective& objective) {
  std::vector<Index> order(static_cast<std::size_t>(objective.size(Axis::columns)));
  std::iota(order.begin(), order.end(), Index{0});
  double best = 0;
  do best = std::max(best, objective.value(grouping_of(objective, order)));
  while (std::ranges::next_permutation(order).found);
  return best;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pruning_objectives)

BOOST_AUTO_TEST_CASE(gains_and_worths_are_changes_of_the_value) {
  for (const SparsePattern pattern : {SparsePattern{2, 4}, {1, 4}, {3, 4}, {1, 2}, {4, 6}}) {
    auto w = random_matrix(7, 24, RandomStream(1));
    for (Index i = 0; i < w.size(); i += 2) w.data()[i] = std::round(w.data()[i]);  // many are equal
    const PruningObjective objective(w, pattern);
    const auto grouping = grouping_of(objective, RandomStream(2).permutation(24));
    const auto moves = objective.moves(Axis::columns, grouping);
    const double kept = objective.value(grouping) * objective.energy();
    const double bound = 100 * static_cast<double>(float_eps) * objective.energy();
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
        BOOST_TEST(std::abs(static_cast<double>(gains[static_cast<std::size_t>(place)]) - (value_of(order) - kept)) <
                   bound);
      }
    }
    // An assignment of one position adds up to what it keeps.
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
    moves->refresh();
    BOOST_TEST(std::abs(moves->kept() - sum) < bound);
    BOOST_TEST(std::abs(moves->kept() - value_of(moves->order())) < bound);
    const Index element = moves->element_at(0);
    moves->swap(element, 1);
    moves->refresh();
    BOOST_TEST(std::abs(moves->kept() - value_of(moves->order())) < bound);
    if (pattern.m != 2) continue;
    std::vector<float> pairs(24);
    moves->pair_worths(3, pairs);
    double largest = 0;
    for (Index r = 0; r < 7; ++r) largest += std::max(w(r, 3) * w(r, 3), w(r, 9) * w(r, 9));
    BOOST_TEST(std::abs(static_cast<double>(pairs[9]) - largest) < bound);
  }
}

BOOST_AUTO_TEST_CASE(searches_find_the_best_of_all_orders_of_a_few_columns_and_are_never_worse_than_none) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    for (const SparsePattern pattern : {SparsePattern{2, 4}, {1, 4}, {1, 2}}) {
      const auto w = random_matrix(3, 8, RandomStream(seed));
      const PruningObjective objective(w, pattern);
      const double best = best_of_all(objective), none = objective.value(identity_grouping(objective));
      BOOST_TEST(best >= none);
      for (const std::string kind : {"identity", "norm-sort", "random", "swap-descent", "coordinate-assignment",
                                     "alternating", "anneal", "portfolio"}) {
        const auto configured = search_of(fmt::format("kind = \"{}\"", kind));
        const auto found = configured.search->search("test", objective, RandomStream(seed));
        BOOST_TEST(found.value >= none, kind);
        BOOST_TEST(found.value <= best * (1 + 1e-14), kind);
        if (kind == "portfolio") BOOST_TEST(found.value >= best * (1 - 1e-14), kind);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_permuted_wanda_loses_what_the_search_says_and_less_than_without) {
  Tensor w(DType::f32, {40, 32});
  auto random = RandomStream(4);
  for (Index i = 0; i < 40; ++i) {
    for (Index j = 0; j < 32; ++j)
      w.matrix<float>()(i, j) = static_cast<float>(random.normal() * (j % 8 < 3 ? 4.0 : 1.0));
  }
  LayerStatistics statistics;
  statistics.input_moments = Matrix<double>(32, 32);
  for (Index j = 0; j < 32; ++j) statistics.input_moments(j, j) = 1.0 + static_cast<double>(j % 5);
  const auto decomposer =
      decomposer_from(config::StrictTable(config::parse_toml("kind = \"wanda\"\nn = 2\nm = 4", "f.toml")));
  const auto search = search_of("kind = \"swap-descent\"; weighting = \"inputs\"; damping = 0.0");
  const auto found = search.find(*decomposer, "w", w.view(), statistics, RandomStream(5));
  BOOST_TEST(found.value > found.start_value);
  const auto plain = decomposer->decompose("w", w.view(), statistics),
             permuted = decompose_permuted(*decomposer, found, "w", w.view(), statistics);
  BOOST_TEST(*permuted.weighted_error < 0.9 * *plain.weighted_error);
  BOOST_TEST(std::abs(*permuted.weighted_error - std::sqrt(1 - found.value)) < 100 * static_cast<double>(float_eps));
  BOOST_TEST(permuted.factorization->stored_bytes() ==
             decomposer->size_of("w", 40, 32).stored_bytes + search.stored_bytes(*decomposer, "w", 40, 32));
}

BOOST_AUTO_TEST_SUITE_END()
