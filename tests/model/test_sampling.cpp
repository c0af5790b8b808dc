#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>

#include "framework/model/sampling.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::model {
namespace {

using testing::message_of;

Matrix<double> row(std::initializer_list<double> values) {
  Matrix<double> logits(1, std::ssize(values));
  std::copy(values.begin(), values.end(), logits.data());
  return logits;
}

/// A row of `count` logits, spread over some 6 nats.
Matrix<double> many_logits(Index count) {
  Matrix<double> logits(1, count);
  RandomStream random = RandomStream(2).child("logits");
  for (double& logit : logits.row(0)) logit = 1.5 * random.normal();
  return logits;
}

std::map<TokenId, Index> frequencies(const Matrix<double>& logits, const SamplingOptions& options, Index num_draws) {
  std::map<TokenId, Index> counts;
  for (Index i = 0; i < num_draws; ++i) {
    RandomStream random = RandomStream(7).child("generate").child(static_cast<std::uint64_t>(i));
    ++counts[sample(logits.view(), options, random)];
  }
  return counts;
}

/// softmax(logits / temperature).
std::vector<double> softmax(const Matrix<double>& logits, double temperature) {
  std::vector<double> probabilities;
  double sum = 0;
  for (Index i = 0; i < logits.cols(); ++i) {
    probabilities.push_back(std::exp(logits(0, i) / temperature));
    sum += probabilities.back();
  }
  for (double& p : probabilities) p /= sum;
  return probabilities;
}

/// Pearson's chi-square of counts, and the number of classes less one.
struct ChiSquare {
  double value = 0;
  double degrees = -1;
  /// Five standard deviations above the mean: mean k, variance 2 k for k degrees.
  bool is_likely() const { return value <= degrees + 5 * std::sqrt(2 * degrees); }
};

ChiSquare chi_square(const std::map<TokenId, Index>& counts, const std::vector<double>& probabilities,
                     Index num_draws) {
  ChiSquare result;
  double rare = 0, rare_count = 0;  // tokens that hardly come are one class
  const auto add = [&](double expected, double count) {
    if (expected == 0) return;
    result.value += (count - expected) * (count - expected) / expected;
    result.degrees += 1;
  };
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const double expected = probabilities[i] * static_cast<double>(num_draws);
    const auto found = counts.find(static_cast<TokenId>(i));
    const double count = found == counts.end() ? 0.0 : static_cast<double>(found->second);
    if (expected == 0) BOOST_TEST(count == 0, "token " << i);
    if (expected < 10) {
      rare += expected, rare_count += count;
    } else {
      add(expected, count);
    }
  }
  add(rare, rare_count);
  return result;
}

constexpr Index num_draws = 20'000;

BOOST_AUTO_TEST_SUITE(sampling)

BOOST_AUTO_TEST_CASE(frequencies_are_those_of_the_softmax_at_every_temperature) {
  const auto logits = many_logits(20);
  for (const double temperature : {0.5, 1.0, 2.0}) {
    const auto counts = frequencies(logits, {.temperature = temperature, .top_p = 1.0}, num_draws);
    BOOST_TEST(chi_square(counts, softmax(logits, temperature), num_draws).is_likely());
    // the same counts are not likely at another temperature
    BOOST_TEST(!chi_square(counts, softmax(logits, 1.2 * temperature), num_draws).is_likely());
  }
}

BOOST_AUTO_TEST_CASE(frequencies_in_the_nucleus_are_those_of_the_softmax_and_the_tail_never_comes) {
  const auto logits = many_logits(20);
  for (const double top_p : {0.5, 0.9}) {
    auto probabilities = softmax(logits, 1.0);
    std::vector<double> sorted = probabilities;
    std::sort(sorted.rbegin(), sorted.rend());
    double mass = 0;
    std::size_t size = 0;
    while (mass < top_p) mass += sorted[size++];
    for (double& p : probabilities) p = p >= sorted[size - 1] ? p / mass : 0.0;
    const auto counts = frequencies(logits, {.temperature = 1.0, .top_p = top_p}, num_draws);
    BOOST_TEST(counts.size() <= size);
    BOOST_TEST(chi_square(counts, probabilities, num_draws).is_likely());
  }
}

BOOST_AUTO_TEST_CASE(the_nucleus_ends_with_the_token_that_fills_it) {
  // probabilities 1/2, 1/4, 1/8, 1/8 in another sequence
  const auto logits = row({std::log(0.125), std::log(0.5), std::log(0.125), std::log(0.25)});
  const auto tokens = [&](double top_p) {
    std::vector<TokenId> seen;
    for (const auto& [id, count] : frequencies(logits, {.temperature = 1.0, .top_p = top_p}, 500)) seen.push_back(id);
    return seen;
  };
  using Ids = std::vector<TokenId>;
  BOOST_TEST(tokens(1e-9) == (Ids{1}), boost::test_tools::per_element());
  BOOST_TEST(tokens(0.49) == (Ids{1}), boost::test_tools::per_element());
  BOOST_TEST(tokens(0.51) == (Ids{1, 3}), boost::test_tools::per_element());
  BOOST_TEST(tokens(0.76) == (Ids{0, 1, 3}), boost::test_tools::per_element());  // the lower id among equals
  BOOST_TEST(tokens(0.9) == (Ids{0, 1, 2, 3}), boost::test_tools::per_element());
  BOOST_TEST(tokens(1.0) == (Ids{0, 1, 2, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(temperature_0_takes_the_first_of_the_most_likely_and_no_random_number) {
  RandomStream random(1), untouched(1);
  BOOST_TEST(sample(row({0.0, 2.0, 1.0, 2.0}).view(), {.temperature = 0.0, .top_p = 0.5}, random) == 1);
  BOOST_TEST(sample(row({-5.0}).view(), {.temperature = 0.0, .top_p = 1.0}, random) == 0);
  BOOST_TEST(random() == untouched());
}

BOOST_AUTO_TEST_CASE(very_low_and_very_high_temperatures_are_the_limits) {
  const auto logits = row({0.0, 300.0, 299.0});
  for (const auto& [id, count] : frequencies(logits, {.temperature = 1e-300, .top_p = 1.0}, 50)) BOOST_TEST(id == 1);
  const auto counts = frequencies(logits, {.temperature = 1e300, .top_p = 1.0}, num_draws);
  BOOST_TEST(chi_square(counts, {1.0 / 3, 1.0 / 3, 1.0 / 3}, num_draws).is_likely());
}

BOOST_AUTO_TEST_CASE(equal_streams_give_equal_tokens_and_floats_those_of_doubles) {
  const auto logits = many_logits(50);
  Matrix<float> floats(1, 50);
  convert(logits.view(), floats.view());
  const auto rounded = to_matrix<double>(floats.view());
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    RandomStream a(seed), b(seed);
    BOOST_TEST(sample(rounded.view(), {}, a) == sample(floats.view(), {}, b));
    BOOST_TEST(a() == b());
  }
}

BOOST_AUTO_TEST_CASE(options_out_of_range_and_logits_that_are_not_finite_are_refused) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  RandomStream random(1);
  const auto logits = row({0.0, 1.0});
  for (const double temperature : {-0.1, nan, infinity}) {
    const SamplingOptions options{.temperature = temperature, .top_p = 1.0};
    BOOST_CHECK_THROW(options.expect_valid(), ConfigError);
    BOOST_CHECK_THROW(sample(logits.view(), options, random), ConfigError);
  }
  for (const double top_p : {0.0, -1.0, 1.1, nan}) {
    const SamplingOptions options{.temperature = 1.0, .top_p = top_p};
    BOOST_CHECK_THROW(options.expect_valid(), ConfigError);
    BOOST_TEST(message_of([&] { options.expect_valid(); }).starts_with("top_p is "));
  }
  BOOST_CHECK_NO_THROW((SamplingOptions{.temperature = 0.0, .top_p = 1.0}.expect_valid()));
  for (const double bad : {nan, infinity, -infinity}) {
    const auto broken = row({0.0, bad, 1.0});
    BOOST_CHECK_THROW(sample(broken.view(), {}, random), DataError);
    BOOST_CHECK_THROW(sample(broken.view(), {.temperature = 0.0, .top_p = 1.0}, random), DataError);
    BOOST_TEST(message_of([&] { sample(broken.view(), {}, random); }).find("token 1") != std::string::npos);
  }
  BOOST_CHECK_THROW(sample(Matrix<double>(1, 0).view(), {}, random), ContractError);
  BOOST_CHECK_THROW(sample(Matrix<double>(2, 3).view(), {}, random), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::model
