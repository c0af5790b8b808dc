#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <set>

#include "framework/base/random.hpp"

namespace kronlab {
namespace {

BOOST_AUTO_TEST_SUITE(random_stream)

// The first block is Philox4x32-10 of counter 0 and key 0 as published with Random123 (kat_vectors): 6627e8d5 e169c58d
// bc57ac4c 9b00dbd8, low words first. The others were computed once: a change of any of them changes every experiment.
BOOST_AUTO_TEST_CASE(numbers_are_the_known_ones) {
  RandomStream zero(0);
  BOOST_TEST(zero() == 0xe169c58d6627e8d5u);
  BOOST_TEST(zero() == 0x9b00dbd8bc57ac4cu);
  BOOST_TEST(RandomStream(42)() == 0x77f5493b9ceaf053u);
  BOOST_TEST(RandomStream(42).child("permutation").child("layers.3.mlp.up_proj").child(2)() == 0x8f2c57044709715bu);
  BOOST_TEST(RandomStream(42).child("")() == 0xcc1730298a2414f1u);
}

BOOST_AUTO_TEST_CASE(a_child_depends_on_its_place_alone) {
  RandomStream parent(7);
  const auto first = parent.child("b")();
  parent.child("a")();
  for (int i = 0; i < 5; ++i) parent();
  BOOST_TEST(parent.child("b")() == first);  // neither siblings nor numbers drawn matter
  RandomStream copy = parent;
  BOOST_TEST(copy() == parent());
}

BOOST_AUTO_TEST_CASE(different_places_have_different_streams) {
  std::set<std::uint64_t> seen;
  std::size_t count = 0;
  const auto add = [&](RandomStream stream) { seen.insert(stream()), ++count; };
  for (std::uint64_t s = 0; s < 50; ++s) {
    add(RandomStream(s));
    for (std::uint64_t i = 0; i < 50; ++i) add(RandomStream(s).child(i));
    for (const char* name : {"", "a", "b", "ab", "ba", "abcdefgh", "abcdefghi", "abcdefg"})
      add(RandomStream(s).child(name));
    add(RandomStream(s).child(std::string_view("a\0", 2)));
    add(RandomStream(s).child("a").child("b"));
    add(RandomStream(s).child("b").child("a"));
  }
  BOOST_TEST(seen.size() == count);
}

// Means and variances lie within five standard deviations of a mean of 200,000 numbers.
BOOST_AUTO_TEST_CASE(uniform_and_normal_numbers_have_their_moments) {
  RandomStream random(1);
  const int n = 200000;
  double uniform = 0, normal = 0, squares = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double u = random.uniform(), z = random.normal();
    BOOST_REQUIRE(u >= 0);
    BOOST_REQUIRE(u < 1);
    uniform += u / n, normal += z / n, squares += z * z / n, fourth += z * z * z * z / n;
  }
  BOOST_TEST(std::abs(uniform - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  BOOST_TEST(std::abs(normal) < 5 * std::sqrt(1.0 / n));
  BOOST_TEST(std::abs(squares - 1) < 5 * std::sqrt(2.0 / n));
  BOOST_TEST(std::abs(fourth - 3) < 5 * std::sqrt(96.0 / n));
}

BOOST_AUTO_TEST_CASE(integers_below_a_bound_are_uniform) {
  RandomStream random(2);
  const int n = 60000;
  for (const Index bound : {1, 2, 3, 6, 10}) {
    std::map<Index, int> counts;
    for (int i = 0; i < n; ++i) ++counts[random.below(bound)];
    BOOST_TEST(counts.size() == static_cast<std::size_t>(bound));
    const double p = 1.0 / static_cast<double>(bound);
    for (const auto& [value, number] : counts) {
      BOOST_TEST((value >= 0 && value < bound));
      BOOST_TEST(std::abs(number - n * p) <= 5 * std::sqrt(n * p * (1 - p)));
    }
  }
  BOOST_CHECK_THROW(random.below(0), ContractError);
  BOOST_CHECK_THROW(random.below(-3), ContractError);
}

BOOST_AUTO_TEST_CASE(each_of_the_24_permutations_of_four_is_as_likely) {
  RandomStream random(3);
  const int n = 48000;
  std::map<std::vector<Index>, int> counts;
  for (int i = 0; i < n; ++i) ++counts[random.permutation(4)];
  BOOST_TEST(counts.size() == 24u);
  double chi_squared = 0;
  for (const auto& [order, number] : counts) chi_squared += std::pow(number - n / 24.0, 2) / (n / 24.0);
  BOOST_TEST(chi_squared < 23 + 5 * std::sqrt(2 * 23.0));  // 23 degrees of freedom: mean 23, variance 46
}

BOOST_AUTO_TEST_CASE(a_permutation_has_every_index_once) {
  for (const Index n : {0, 1, 2, 100}) {
    auto order = RandomStream(4).permutation(n);
    std::ranges::sort(order);
    BOOST_TEST(order.size() == static_cast<std::size_t>(n));
    for (Index i = 0; i < n; ++i) BOOST_TEST(order[static_cast<std::size_t>(i)] == i);
  }
  BOOST_CHECK_THROW(RandomStream(4).permutation(-1), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab
