#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <utility>

#include "decompositions/permutation/kronecker_objective.hpp"
#include "decompositions/permutation/permutation_search.hpp"
#include "decompositions/permutation/shared_axis_objective.hpp"
#include "framework/base/error.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::random_matrix;

namespace {

/// Two weights before `hidden` units and one behind them, in blocks 2x4: groups of 2 and of 4.
struct Mlp {
  Index hidden;
  Matrix<double> gate = random_matrix(hidden, 12, RandomStream(1)), up = random_matrix(hidden, 8, RandomStream(2)),
                 down = random_matrix(10, hidden, RandomStream(3));
  KroneckerObjective of_gate{gate.view(), {2, 4, 3}}, of_up{up.view(), {2, 4, 2}}, of_down{down.view(), {2, 4, 3}};
  SharedAxisObjective shared{{{&of_gate, Axis::rows, RandomStream(4).permutation(12)},
                              {&of_up, Axis::rows, RandomStream(5).permutation(8)},
                              {&of_down, Axis::columns, RandomStream(6).permutation(10)}}};

  explicit Mlp(Index units = 16) : hidden(units) {}
  std::vector<std::unique_ptr<AxisMoves>> own_moves(const std::vector<Index>& order) const {
    std::vector<std::unique_ptr<AxisMoves>> moves;
    for (std::size_t p = 0; p < 3; ++p) {
      const auto& part = shared.parts()[p];
      moves.push_back(part.objective->moves(part.axis, shared.grouping_of(p, order)));
    }
    return moves;
  }
};

Grouping in_order(std::vector<Index> order) { return {std::move(order), {0}}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(shared_axis)

BOOST_AUTO_TEST_CASE(an_order_is_worth_what_it_is_worth_to_all_parts) {
  const Mlp mlp;
  const auto order = RandomStream(7).permutation(mlp.hidden);
  double kept = 0;
  for (std::size_t p = 0; p < 3; ++p) {
    const auto& part = mlp.shared.parts()[p];
    kept += part.objective->energy() * part.objective->value(mlp.shared.grouping_of(p, order));
  }
  BOOST_TEST(mlp.shared.energy() == mlp.of_gate.energy() + mlp.of_up.energy() + mlp.of_down.energy());
  BOOST_TEST(mlp.shared.value(in_order(order)) == kept / mlp.shared.energy(), boost::test_tools::tolerance(1e-14));
  BOOST_TEST(mlp.shared.group(Axis::rows) == 4);
  BOOST_TEST(mlp.shared.group(Axis::columns) == 1);
  const auto moves = mlp.shared.moves(Axis::rows, in_order(order));
  BOOST_TEST(moves->kept() == kept, boost::test_tools::tolerance(1e-5));
  const auto energies = mlp.shared.energies(Axis::rows);
  BOOST_TEST(std::accumulate(energies.begin(), energies.end(), 0.0) == mlp.shared.energy(), boost::test_tools::tolerance(1e-14));
}

BOOST_AUTO_TEST_CASE(a_move_gains_the_sum_of_what_it_gains_in_each_part) {
  const Mlp mlp;
  const auto order = RandomStream(7).permutation(mlp.hidden);
  const auto moves = mlp.shared.moves(Axis::rows, in_order(order));
  for (Index element = 0; element < mlp.hidden; ++element) {
    const auto gains = moves->gains(element);
    for (Index place = 0; place < mlp.hidden; ++place) {
      float expected = 0;
      for (const auto& own : mlp.own_moves(order)) {
        if (moves->element_at(place) != element) expected += own->gains(element)[static_cast<std::size_t>(own->place_of(moves->element_at(place)))];
      }
      BOOST_TEST(std::abs(gains[static_cast<std::size_t>(place)] - expected) <= 1e-4F);
    }
  }
}

BOOST_AUTO_TEST_CASE(no_move_gains_less_than_is_said) {
  const Mlp mlp;
  const auto order = RandomStream(7).permutation(mlp.hidden);
  const double before = mlp.shared.value(in_order(order)) * mlp.shared.energy();
  for (Index element = 0; element < mlp.hidden; ++element) {
    for (Index place = 0; place < mlp.hidden; ++place) {
      const auto moves = mlp.shared.moves(Axis::rows, in_order(order));
      const float gain = moves->gains(element)[static_cast<std::size_t>(place)];
      moves->swap(element, place);
      BOOST_TEST(mlp.shared.value(in_order(moves->order())) * mlp.shared.energy() - before >= static_cast<double>(gain - moves->noise()));
    }
  }
}

BOOST_AUTO_TEST_CASE(swaps_and_assignments_leave_all_parts_in_step) {
  const Mlp mlp(24);
  const auto moves = mlp.shared.moves(Axis::rows, in_order(RandomStream(7).permutation(mlp.hidden)));
  RandomStream random(8);
  for (int i = 0; i < 30; ++i) moves->swap(static_cast<Index>(random.below(24)), static_cast<Index>(random.below(24)));
  for (Index position = 0; position < 4; ++position) {
    std::vector<Index> elements;
    for (Index g = 0; g < moves->num_groups(); ++g) elements.push_back(moves->element_at(position * moves->num_groups() + g));
    std::ranges::rotate(elements, elements.begin() + 1 + position);
    moves->reassign(position, elements);
  }
  moves->refresh();
  const auto fresh = mlp.shared.moves(Axis::rows, in_order(moves->order()));
  BOOST_TEST(moves->kept() == fresh->kept(), boost::test_tools::tolerance(1e-5));
  for (Index element = 0; element < 24; ++element) {
    const auto found = moves->gains(element);
    const std::vector<float> a(found.begin(), found.end());
    const auto b = fresh->gains(element);
    for (std::size_t place = 0; place < 24; ++place) BOOST_TEST(std::abs(a[place] - b[place]) <= 1e-4F);
  }
  Matrix<float> a(6, 6), b(6, 6);
  for (Index position = 0; position < 4; ++position) {
    moves->worths(position, a.view()), fresh->worths(position, b.view());
    for (Index i = 0; i < a.size(); ++i) BOOST_TEST(std::abs(a.data()[i] - b.data()[i]) <= 1e-4F);
  }
}

BOOST_AUTO_TEST_CASE(worths_are_what_an_assignment_gains) {
  const Mlp mlp;
  const auto order = RandomStream(7).permutation(mlp.hidden);
  const auto moves = mlp.shared.moves(Axis::rows, in_order(order));
  Matrix<float> worth(4, 4);
  for (Index position = 0; position < 4; ++position) {
    moves->worths(position, worth.view());
    for (Index i = 0; i < 4; ++i) {  // two elements of one position change groups: the gain of their swap
      for (Index g = 0; g < 4; ++g) {
        const float gain = worth(i, g) + worth(g, i) - worth(i, i) - worth(g, g);
        const float swap = moves->gains(moves->element_at(position * 4 + i))[static_cast<std::size_t>(position * 4 + g)];
        BOOST_TEST(std::abs(gain - (i == g ? 0.0F : swap)) <= 1e-4F);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(searches_find_the_best_shared_order_of_a_small_case) {
  const Mlp mlp(8);
  std::vector<Index> order(8);
  std::iota(order.begin(), order.end(), Index{0});
  double best = 0;
  do {
    best = std::max(best, mlp.shared.value(in_order(order)));
  } while (std::ranges::next_permutation(order).found);
  const auto search = make_portfolio_search({});
  auto found = search->search("test", mlp.shared, RandomStream(9));
  for (Index start = 1; start < 8; ++start) keep_best(found, search->search("test", mlp.shared, RandomStream(9), {}, nullptr, start));
  BOOST_TEST(found.value == best, boost::test_tools::tolerance(1e-12));
  BOOST_TEST((found.columns == std::vector<Index>{0}));
  BOOST_TEST(found.value >= found.start_value - 1e-14);
}

BOOST_AUTO_TEST_CASE(an_order_that_two_weights_were_built_on_is_found_again) {
  constexpr Index hidden = 64;
  const auto planted = RandomStream(1).permutation(hidden);
  const auto kronecker = [&](Index other, Axis axis, std::uint64_t seed) {  // one term, exact in the planted order
    const auto a = random_matrix(hidden / 2, other, RandomStream(seed)), b = random_matrix(2, 1, RandomStream(seed + 1));
    Matrix<double> w = axis == Axis::rows ? Matrix<double>(hidden, other) : Matrix<double>(other, hidden);
    for (Index i = 0; i < hidden; ++i) {
      const Index unit = planted[static_cast<std::size_t>(i)];
      for (Index j = 0; j < other; ++j) (axis == Axis::rows ? w(unit, j) : w(j, unit)) = a(i / 2, j) * b(i % 2, 0);
    }
    return w;
  };
  const auto first = kronecker(20, Axis::rows, 2), second = kronecker(30, Axis::columns, 4);
  const KroneckerObjective of_first(first.view(), {2, 1, 1}), of_second(second.view(), {1, 2, 1});
  std::vector<Index> twenty(20), thirty(30);
  std::iota(twenty.begin(), twenty.end(), Index{0}), std::iota(thirty.begin(), thirty.end(), Index{0});
  const SharedAxisObjective shared({{&of_first, Axis::rows, twenty}, {&of_second, Axis::columns, thirty}});
  BOOST_TEST(make_portfolio_search({})->search("test", shared, RandomStream(9)).value > 1 - 1e-10);
}

BOOST_AUTO_TEST_CASE(axes_and_groups_that_do_not_go_together_are_refused) {
  const auto a = random_matrix(12, 8, RandomStream(1)), b = random_matrix(8, 12, RandomStream(2)), c = random_matrix(10, 4, RandomStream(3));
  const KroneckerObjective twos(a.view(), {2, 4, 1}), threes(b.view(), {2, 3, 1}), ten(c.view(), {2, 2, 1});
  BOOST_CHECK_THROW(SharedAxisObjective({{&twos, Axis::rows, {}}, {&threes, Axis::columns, {}}}), ConfigError);
  BOOST_CHECK_THROW(SharedAxisObjective({{&twos, Axis::rows, {}}, {&ten, Axis::rows, {}}}), ConfigError);
  BOOST_CHECK_THROW(SharedAxisObjective({}), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()
