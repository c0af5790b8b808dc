#include <boost/test/unit_test.hpp>
#include <limits>

#include "decompositions/budget/best_allocation.hpp"
#include "decompositions/budget/integer_programme.hpp"
#include "decompositions/budget/simple_allocations.hpp"
#include "tests/decompositions/budget_problems.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::Damages;
using kronlab::testing::message_of;
using kronlab::testing::RandomBudget;

namespace {

constexpr double nothing = std::numeric_limits<double>::infinity();

/// The least damage of all allocations that fit.
double least_of_all(const BudgetProblem& problem) {
  double least = nothing;
  std::vector<std::size_t> choices(problem.units.size(), 0);
  for (;;) {
    const auto all = Allocation::of(problem, choices);
    if (all.fits(problem)) least = std::min(least, all.damage);
    std::size_t u = 0;
    while (u < choices.size() && ++choices[u] == problem.units[u].size()) choices[u++] = 0;
    if (u == choices.size()) return least;
  }
}

/// Rounding of sums of a few terms, and the solver's tolerance of 1e-10 relative to the damage of the greedy
/// allocation.
double tolerance_of(const BudgetProblem& problem) {
  double sum = 0;
  for (const auto& unit : problem.units) {
    for (const auto& choice : unit) sum += std::abs(choice.damage);
  }
  return 1e-8 * sum;
}

void expect_best(const BudgetProblem& problem) {
  const double least = least_of_all(problem);
  if (least == nothing) {
    BOOST_CHECK_THROW(best_allocation(problem), ConfigError);
    return;
  }
  const double tolerance = tolerance_of(problem);
  const auto proven = best_allocation(problem, {.gap = 0});
  BOOST_TEST(proven.allocation.fits(problem));
  BOOST_TEST(proven.allocation.damage <= least + tolerance);
  BOOST_TEST(proven.gap < 1e-7);
  const auto best = best_allocation(problem);
  BOOST_TEST(best.allocation.fits(problem));
  BOOST_TEST(best.allocation.damage == Allocation::of(problem, best.allocation.choices).damage);
  BOOST_TEST(best.lower_bound <= least + tolerance);
  BOOST_TEST(best.gap <= 1e-3);
  for (const auto& simple : {greedy_allocation(problem), uniform_allocation(problem)}) {
    if (!simple) continue;
    BOOST_TEST(simple->fits(problem));
    BOOST_TEST(best.allocation.damage <= simple->damage);
    BOOST_TEST(simple->damage >= least - tolerance);
  }
}

/// Two units: dense, half, a tenth.
BudgetProblem small() {
  return {{{{0, 100, 10}, {1, 50, 6}, {4, 10, 2}}, {{0, 100, 10}, {2, 50, 6}, {3, 10, 2}}}, {}, {}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(budget)

BOOST_AUTO_TEST_CASE(no_allocation_of_small_problems_is_better) {
  for (const auto damages : {Damages::measured, Damages::correlated, Damages::unrelated}) {
    for (const auto& [bytes, seconds] : {std::pair{true, false}, {false, true}, {true, true}}) {
      for (std::uint64_t seed = 0; seed < 6; ++seed) {
        const RandomBudget random{.num_units = 1 + seed,
                                  .num_choices = 5,
                                  .damages = damages,
                                  .limits_bytes = bytes,
                                  .limits_seconds = seconds};
        expect_best(random.problem(RandomStream(seed)));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(damages_below_zero_equal_choices_and_tight_limits_change_nothing) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    auto problem = RandomBudget{.num_units = 5, .num_choices = 5, .limits_seconds = true}.problem(RandomStream(seed));
    RandomStream random(100 + seed);
    double fewest = 0;
    for (auto& unit : problem.units) {
      unit[1 + static_cast<std::size_t>(random.below(4))].damage *= -1;
      unit.push_back(unit[static_cast<std::size_t>(random.below(5))]);
      fewest += unit[1].bytes;
    }
    expect_best(problem);
    problem.max_bytes = fewest * 1.1;
    expect_best(problem);
  }
  auto equal = small();
  equal.units.assign(4, {{1, 5, 1}, {1, 5, 1}, {2, 1, 1}});
  equal.max_bytes = 13;  // two of four at 5 bytes
  expect_best(equal);
  BOOST_TEST(best_allocation(equal).allocation.damage == 6);
}

BOOST_AUTO_TEST_CASE(of_one_unit_the_best_choice_that_fits_is_taken) {
  BudgetProblem one{{{{0, 100, 10}, {1, 50, 6}, {4, 10, 2}}}, 60, {}};
  BOOST_TEST(best_allocation(one).allocation.choices == std::vector<std::size_t>{1}, boost::test_tools::per_element());
  one.max_seconds = 2;
  BOOST_TEST(best_allocation(one).allocation.choices == std::vector<std::size_t>{2}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_budget_that_all_meet_and_none_at_all_give_the_least_damage) {
  auto problem = small();
  BOOST_TEST(best_allocation(problem).allocation.damage == 0);
  problem.max_bytes = 200, problem.max_seconds = 20;
  const auto best = best_allocation(problem);
  BOOST_TEST(best.allocation.bytes == 200);
  BOOST_TEST(best.lower_bound == 0);
  BOOST_TEST(best.gap == 0);
}

BOOST_AUTO_TEST_CASE(the_rules_that_it_is_compared_with_do_what_they_say) {
  auto problem = small();
  problem.max_bytes = 110;
  // per byte saved: 1/50 for half of the first unit, 3/90 for a tenth of the second; then it fits no longer than 110:
  // 50 + 10
  BOOST_TEST(greedy_allocation(problem)->choices == (std::vector<std::size_t>{1, 2}), boost::test_tools::per_element());
  BOOST_TEST(uniform_allocation(problem)->choices == (std::vector<std::size_t>{1, 1}),
             boost::test_tools::per_element());
  BOOST_TEST(best_allocation(problem).allocation.damage == 3);  // one at 100 or both at 50
  problem.units[1].pop_back();
  problem.max_bytes = 60;
  BOOST_TEST(uniform_allocation(problem)->choices == (std::vector<std::size_t>{2, 1}),
             boost::test_tools::per_element());
  problem.max_seconds = 7.0;
  BOOST_TEST(!uniform_allocation(problem).has_value());
  BOOST_TEST(!greedy_allocation(problem).has_value());
}

BOOST_AUTO_TEST_CASE(a_budget_that_cannot_be_met_says_the_least_possible) {
  auto problem = small();
  problem.max_bytes = 19;
  BOOST_TEST(message_of([&] { best_allocation(problem); }) ==
             "budget: 19 bytes cannot be met, the least possible are 20");
  problem.max_bytes = {}, problem.max_seconds = 3.5;
  BOOST_TEST(message_of([&] { best_allocation(problem); }) ==
             "budget: 3.5 seconds cannot be met, the least possible are 4");
  problem.units = {{{0, 100, 1}, {1, 10, 5}}, {{0, 100, 1}, {1, 10, 4}}};
  problem.max_bytes = 110, problem.max_seconds = 4;
  BOOST_TEST(
      message_of([&] { best_allocation(problem); }) ==
      "budget: 110 bytes and 4 seconds cannot be met together, the least possible within those bytes are 5 seconds");
  problem.max_bytes = 0, problem.max_seconds = {};
  BOOST_TEST(message_of([&] { best_allocation(problem); }) ==
             "budget: 0 bytes cannot be met, the least possible are 20");
}

BOOST_AUTO_TEST_CASE(numbers_that_are_none_are_refused) {
  const auto message = [](const auto& change) {
    auto problem = small();
    problem.max_bytes = 100;
    change(problem);
    return message_of([&] { best_allocation(problem); });
  };
  BOOST_TEST(message([](auto& p) { p.units[1][2].damage = std::nan(""); }) ==
             "budget: choice 2 of unit 1 has a damage of nan, expected a finite number");
  BOOST_TEST(message([](auto& p) { p.units[0][1].bytes = -1; }) ==
             "budget: choice 1 of unit 0 has -1 bytes, expected a finite number from 0 on");
  BOOST_TEST(message([](auto& p) { p.units[0][0].seconds = nothing; }) ==
             "budget: choice 0 of unit 0 has inf seconds, expected a finite number from 0 on");
  BOOST_TEST(message([](auto& p) { p.units[1].clear(); }) == "budget: unit 1 has no choice");
  BOOST_TEST(message([](auto& p) { p.units.clear(); }) == "budget: no unit to choose for");
  BOOST_TEST(message([](auto& p) { p.max_bytes = std::nan(""); }) ==
             "budget: a limit of nan bytes, expected a finite number from 0 on");
  BOOST_TEST(message([](auto& p) { p.max_seconds = -1.0; }) ==
             "budget: a limit of -1 seconds, expected a finite number from 0 on");
  auto problem = small();
  BOOST_TEST(message_of([&] { best_allocation(problem, {.gap = -1}); }) == "budget: a gap of -1, expected 0 or more");
  BOOST_TEST(message_of([&] { best_allocation(problem, {.time_limit_s = 0}); }) ==
             "budget: a time limit of 0 s, expected more than 0");
  BOOST_CHECK_THROW(Allocation::of(problem, {0}), ContractError);
  BOOST_CHECK_THROW(solve({{{{1.0, {}}}}, 1}, 0, 1), ContractError);
  BOOST_CHECK_THROW(solve({{{}}, 0}, 0, 1), ContractError);
}

BOOST_AUTO_TEST_CASE(a_model_of_210_layers_is_within_the_gap_of_its_bound) {
  const auto problem = RandomBudget{.limits_seconds = true}.problem(RandomStream(1));
  const auto best = best_allocation(problem);
  BOOST_TEST(best.allocation.fits(problem));
  BOOST_TEST(best.gap <= 1e-3);
  BOOST_TEST(best.allocation.damage < 0.9 * uniform_allocation(problem)->damage);
}

BOOST_AUTO_TEST_SUITE_END()
