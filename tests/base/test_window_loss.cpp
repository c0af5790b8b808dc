#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numbers>

#include "framework/base/error.hpp"
#include "framework/base/window_loss.hpp"

using namespace kronlab;

BOOST_AUTO_TEST_SUITE(window_loss)

BOOST_AUTO_TEST_CASE(the_mean_is_of_tokens_and_its_error_of_windows) {
  const std::vector<WindowLoss> windows = {{10, 30}, {10, 50}, {20, 40}};
  const auto found = mean_loss(windows);
  BOOST_TEST(found.mean == 3.0);
  // deviations 0, 20, -20; sqrt(800 * 3 / 2) / 40
  BOOST_TEST(found.standard_error == std::sqrt(1200.0) / 40, boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(equal_weights_give_the_textbook_standard_error) {
  const std::vector<double> values = {1.5, 2.0, 4.0, 0.25, 3.25};
  std::vector<WindowLoss> windows;
  double mean = 0, squares = 0;
  for (const double value : values) windows.push_back({7, 7 * value}), mean += value / 5;
  for (const double value : values) squares += (value - mean) * (value - mean);
  BOOST_TEST(mean_loss(windows).mean == mean, boost::test_tools::tolerance(1e-15));
  BOOST_TEST(mean_loss(windows).standard_error == std::sqrt(squares / 4 / 5), boost::test_tools::tolerance(1e-14));
  BOOST_TEST(mean_loss(std::span(windows).first(1)).standard_error == 0.0);
}

BOOST_AUTO_TEST_CASE(p_values_are_those_of_students_distribution) {
  // One and two degrees of freedom have closed forms: p = 1 - (2 / pi) atan |t| and p = 1 - |t| / sqrt(2 + t^2).
  const std::vector<WindowLoss> first = {{4, 9}, {4, 8}, {4, 7}}, second = {{4, 8}, {4, 10}, {4, 13}};
  const auto two = paired_difference(std::span(first).first(2), std::span(second).first(2));
  BOOST_TEST(two.num_windows == 2);
  BOOST_TEST(two.difference.mean == 0.125);
  BOOST_TEST(two.t == 1.0 / 3, boost::test_tools::tolerance(1e-14));
  BOOST_TEST(two.p_value == 1 - 2 / std::numbers::pi * std::atan(two.t), boost::test_tools::tolerance(1e-12));
  const auto three = paired_difference(first, second);
  BOOST_TEST(three.p_value == 1 - three.t / std::sqrt(2 + three.t * three.t), boost::test_tools::tolerance(1e-12));
  const auto swapped = paired_difference(second, first);
  BOOST_TEST(swapped.t == -three.t);
  BOOST_TEST(swapped.p_value == three.p_value);
}

BOOST_AUTO_TEST_CASE(no_difference_and_the_same_difference_everywhere_are_defined) {
  const std::vector<WindowLoss> first = {{2, 3}, {2, 5}}, second = {{2, 4}, {2, 6}};
  const auto none = paired_difference(first, first);
  BOOST_TEST(none.t == 0.0);
  BOOST_TEST(none.p_value == 1.0);
  const auto constant = paired_difference(first, second);
  BOOST_TEST(std::isinf(constant.t));
  BOOST_TEST(constant.p_value == 0.0);
}

BOOST_AUTO_TEST_CASE(a_loss_that_is_no_number_gives_no_p_value) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<WindowLoss> first = {{2, 3}, {2, 5}}, second = {{2, nan}, {2, 6}};
  BOOST_TEST(std::isnan(paired_difference(first, second).p_value));
}

BOOST_AUTO_TEST_CASE(other_windows_are_refused) {
  const std::vector<WindowLoss> first = {{2, 3}, {2, 5}}, second = {{2, 4}, {3, 6}};
  BOOST_CHECK_THROW(paired_difference(first, second), DataError);
  BOOST_CHECK_THROW(paired_difference(first, std::span(second).first(1)), DataError);
  BOOST_CHECK_THROW(paired_difference(std::span(first).first(1), std::span(second).first(1)), DataError);
  BOOST_CHECK_THROW(mean_loss({}), ContractError);
  const std::vector<WindowLoss> weightless = {{0, 1}};
  BOOST_CHECK_THROW(mean_loss(weightless), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()
