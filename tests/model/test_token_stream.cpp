#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "framework/model/token_stream.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::model {
namespace {

using testing::message_of;

const RandomStream seed(31);

std::vector<WindowPlace> walk(WindowSequence sequence, Index count) {
  std::vector<WindowPlace> places;
  for (Index i = 0; i < count; ++i) places.push_back(sequence.at(i));
  return places;
}

/// The windows of one source in the sequence they come in.
std::vector<Index> windows_of(const std::vector<WindowPlace>& places, Index source) {
  std::vector<Index> windows;
  for (const auto& place : places) {
    if (place.source == source) windows.push_back(place.window);
  }
  return windows;
}

std::vector<Index> sorted_slice(const std::vector<Index>& values, std::size_t begin, std::size_t count) {
  std::vector<Index> slice(values.begin() + static_cast<std::ptrdiff_t>(begin),
                           values.begin() + static_cast<std::ptrdiff_t>(begin + count));
  std::ranges::sort(slice);
  return slice;
}

/// How far the most distant source is from its share at any time, in windows.
double largest_lag(const std::vector<WindowSource>& sources, Index count) {
  double sum = 0, largest = 0;
  for (const auto& source : sources) sum += source.weight;
  std::vector<double> taken(sources.size());
  WindowSequence sequence(sources, seed);
  for (Index i = 0; i < count; ++i) {
    taken[static_cast<std::size_t>(sequence.at(i).source)] += 1;
    for (std::size_t s = 0; s < sources.size(); ++s) {
      largest = std::max(largest, std::abs(sources[s].weight / sum * static_cast<double>(i + 1) - taken[s]));
    }
  }
  return largest;
}

BOOST_AUTO_TEST_SUITE(token_stream)

BOOST_AUTO_TEST_CASE(windows_follow_one_another_without_overlap_and_without_the_rest) {
  std::vector<TokenId> ids(23);
  std::iota(ids.begin(), ids.end(), 100);
  const TokenStream stream("novel", ids, 200);
  BOOST_TEST(stream.num_windows(5) == 4);
  BOOST_TEST(stream.num_windows(23) == 1);
  std::vector<TokenId> out(5);
  for (Index w = 0; w < 4; ++w) {
    stream.window(w, out);
    for (std::size_t i = 0; i < out.size(); ++i) BOOST_TEST(out[i] == ids[static_cast<std::size_t>(w) * 5 + i]);
  }
  BOOST_CHECK_THROW(stream.window(4, out), ContractError);
  BOOST_CHECK_THROW(stream.window(-1, out), ContractError);
  BOOST_CHECK_THROW(stream.window(0, {}), ContractError);
  BOOST_CHECK_THROW(stream.num_windows(0), ContractError);
}

BOOST_AUTO_TEST_CASE(a_text_shorter_than_a_window_is_an_error_with_both_numbers) {
  const TokenStream stream("novel", std::vector<TokenId>(7), 200);
  BOOST_TEST(message_of([&] { stream.num_windows(8); }) ==
             "text 'novel' has 7 tokens, expected at least one window of 8");
  BOOST_CHECK_THROW(stream.num_windows(8), DataError);
  BOOST_CHECK_THROW(TokenStream("nothing", std::vector<TokenId>(), 200).num_windows(1), DataError);
}

BOOST_AUTO_TEST_CASE(an_id_outside_the_vocabulary_is_an_error_where_it_is_read) {
  const std::vector<TokenId> ids{1, 2, 3, 200, 4, 5, 6, 7, -1};
  std::vector<TokenId> out(3);
  const TokenStream stream("novel", ids, 200);
  BOOST_CHECK_NO_THROW(stream.window(0, out));
  BOOST_TEST(message_of([&] { stream.window(1, out); }) ==
             "text 'novel': id 200 in window 1 of 3 tokens, but the vocabulary has 200 ids");
  BOOST_CHECK_THROW(stream.window(2, out), DataError);
  BOOST_CHECK_THROW(stream.expect_in_vocabulary(), DataError);
  BOOST_CHECK_NO_THROW(TokenStream("novel", {1, 199}, 200).expect_in_vocabulary());
}

BOOST_AUTO_TEST_CASE(held_out_windows_are_spread_and_the_rest_is_for_training) {
  BOOST_TEST(split(10, 2).held_out == (std::vector<Index>{2, 7}), boost::test_tools::per_element());
  BOOST_TEST(split(10, 0).training.size() == 10u);
  BOOST_TEST(split(10, 10).training.empty());
  for (const Index num_windows : {1, 2, 7, 100}) {
    for (Index num_held_out = 0; num_held_out <= num_windows; ++num_held_out) {
      const auto [training, held_out] = split(num_windows, num_held_out);
      BOOST_TEST(static_cast<Index>(held_out.size()) == num_held_out);
      std::vector<Index> all(training);
      all.insert(all.end(), held_out.begin(), held_out.end());
      std::ranges::sort(all);
      BOOST_TEST(static_cast<Index>(all.size()) == num_windows);
      for (Index w = 0; w < num_windows; ++w) BOOST_TEST(all[static_cast<std::size_t>(w)] == w);
      // parts of num_windows / num_held_out, rounded up or down
      for (std::size_t k = 1; k < held_out.size(); ++k) {
        const Index gap = held_out[k] - held_out[k - 1];
        BOOST_TEST(gap * num_held_out > num_windows - num_held_out);
        BOOST_TEST(gap * num_held_out < num_windows + num_held_out);
      }
    }
  }
  BOOST_CHECK_THROW(split(3, 4), ContractError);
  BOOST_CHECK_THROW(split(3, -1), ContractError);
}

BOOST_AUTO_TEST_CASE(every_epoch_has_every_window_once_and_another_sequence) {
  const auto windows = windows_of(walk({{{.name = "a", .num_windows = 50}}, seed}, 150), 0);
  std::set<std::vector<Index>> orders;
  for (std::size_t epoch = 0; epoch < 3; ++epoch) {
    const auto sorted = sorted_slice(windows, 50 * epoch, 50);
    for (Index w = 0; w < 50; ++w) BOOST_TEST(sorted[static_cast<std::size_t>(w)] == w);
    orders.insert({windows.begin() + static_cast<std::ptrdiff_t>(50 * epoch),
                   windows.begin() + static_cast<std::ptrdiff_t>(50 * epoch + 50)});
  }
  BOOST_TEST(orders.size() == 3u);
  BOOST_TEST(!orders.contains(sorted_slice(windows, 0, 50)));
}

BOOST_AUTO_TEST_CASE(sources_come_as_often_as_their_weights_say_at_any_time) {
  const std::vector<WindowSource> three{{"a", 40, 5}, {"b", 10, 3}, {"c", 1000, 2}};
  const auto places = walk({three, seed}, 1000);
  BOOST_TEST(windows_of(places, 0).size() == 500u);
  BOOST_TEST(windows_of(places, 1).size() == 300u);
  BOOST_TEST(windows_of(places, 2).size() == 200u);
  BOOST_TEST(largest_lag(three, 1000) < 1.0);
  BOOST_TEST(largest_lag({{"a", 4, 1}, {"b", 4, std::sqrt(2.0)}}, 2000) < 1.0);
  std::vector<WindowSource> many;
  RandomStream random = seed.child("weights");
  for (int s = 0; s < 100; ++s) many.push_back({fmt::format("{}", s), 4, 0.01 + random.uniform()});
  // the lags add up to nothing and the largest is served first: none grows beyond the 99th harmonic number, 5.18
  BOOST_TEST(largest_lag(many, 5000) < 5.18);
  // of equal weights the first goes first
  const auto equal = walk({{{"a", 4}, {"b", 4}, {"c", 4}}, seed}, 9);
  for (std::size_t i = 0; i < equal.size(); ++i) BOOST_TEST(equal[i].source == static_cast<Index>(i % 3));
}

BOOST_AUTO_TEST_CASE(held_out_windows_never_come) {
  const std::vector<WindowSource> sources{{"a", 40, 1, 7}, {"b", 11, 2, 10}};
  const auto places = walk({sources, seed}, 300);
  for (Index s = 0; s < 2; ++s) {
    const auto& source = sources[static_cast<std::size_t>(s)];
    const auto windows = windows_of(places, s);
    const std::set<Index> came(windows.begin(), windows.end());
    const auto [training, held_out] = split(source.num_windows, source.num_held_out);
    BOOST_TEST((came == std::set<Index>(training.begin(), training.end())));
    for (const Index w : held_out) BOOST_TEST(!came.contains(w));
  }
}

BOOST_AUTO_TEST_CASE(any_place_is_the_same_walked_to_skipped_to_or_gone_back_to) {
  const std::vector<WindowSource> sources{{"a", 7, 5, 2}, {"b", 30, 3}, {"c", 1, 2}};
  const auto places = walk({sources, seed}, 400);
  WindowSequence jumping(sources, seed);
  RandomStream random = seed.child("jumps");
  for (int jump = 0; jump < 300; ++jump) {
    const Index i = random.below(400);
    BOOST_TEST((jumping.at(i) == places[static_cast<std::size_t>(i)]));
    BOOST_TEST((jumping.at(i) == places[static_cast<std::size_t>(i)]));
  }
  BOOST_TEST((WindowSequence(sources, seed).at(399) == places[399]));
}

BOOST_AUTO_TEST_CASE(a_source_keeps_its_permutations_beside_others) {
  const auto alone = windows_of(walk({{{"a", 30}}, seed}, 30), 0);
  const auto beside = windows_of(walk({{{"b", 9}, {"a", 30}}, seed}, 60), 1);
  BOOST_TEST(beside == alone, boost::test_tools::per_element());
  BOOST_TEST(windows_of(walk({{{"b", 30}}, seed}, 30), 0) != alone);
  BOOST_TEST(windows_of(walk({{{"a", 30}}, seed.child(1)}, 30), 0) != alone);
}

BOOST_AUTO_TEST_CASE(epochs_count_the_training_windows_that_came) {
  WindowSequence sequence({{"a", 10, 3, 2}, {"b", 100, 1}}, seed);
  BOOST_TEST(sequence.epochs(0, 0) == 0.0);
  BOOST_TEST(sequence.epochs(0, 16) == 12 / 8.0);
  BOOST_TEST(sequence.epochs(1, 16) == 4 / 100.0);
  BOOST_CHECK_THROW(sequence.epochs(2, 0), ContractError);
}

BOOST_AUTO_TEST_CASE(sources_that_cannot_be_are_refused) {
  const auto make = [](std::vector<WindowSource> sources) { WindowSequence(std::move(sources), seed); };
  BOOST_CHECK_THROW(make({}), ContractError);
  BOOST_CHECK_THROW(make({{"a", 0}}), ContractError);
  BOOST_CHECK_THROW(make({{"a", 3, 1, 3}}), ContractError);
  BOOST_CHECK_THROW(make({{"a", 3, 0}}), ContractError);
  BOOST_CHECK_THROW(make({{"a", 3, std::numeric_limits<double>::infinity()}}), ContractError);
  BOOST_CHECK_THROW(make({{"a", 3}, {"a", 4}}), ContractError);
  WindowSequence sequence({{"a", 3}}, seed);
  BOOST_CHECK_THROW(sequence.at(-1), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
