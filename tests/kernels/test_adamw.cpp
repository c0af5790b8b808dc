#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "framework/base/random.hpp"
#include "framework/kernels/adamw.hpp"

namespace kronlab::kernels {
namespace {

const RandomStream seed(23);

/// n parameters with their gradient and moments.
template <class T>
struct Parameters {
  explicit Parameters(Index n) : value(size(n)), gradient(size(n)), first(size(n)), second(size(n)) {
    RandomStream random = seed.child("parameters");
    for (T& x : value) x = static_cast<T>(random.normal());
    draw_gradient(0);
  }
  static std::size_t size(Index n) { return static_cast<std::size_t>(n); }

  void draw_gradient(Index step) {
    RandomStream random = seed.child("gradient").child(static_cast<std::uint64_t>(step));
    for (T& x : gradient) x = static_cast<T>(0.01 * random.normal());
  }
  void update(const AdamWStep& step) { update(step, 0, value.size()); }
  void update(const AdamWStep& step, std::size_t begin, std::size_t count) {
    const auto part = [=](auto& x) { return std::span<T>(x).subspan(begin, count); };
    adamw<T>(step, part(value), part(gradient), part(first), part(second));
  }

  std::vector<T> value, gradient, first, second;
};

/// The textbook: Adam's algorithm 1 with bias-corrected moments, and the decay beside it; in long double.
template <class T>
struct Reference {
  explicit Reference(const Parameters<T>& p)
      : value(p.value.begin(), p.value.end()), first(value.size()), second(value.size()) {}

  void update(const AdamWStep& s, const std::vector<T>& gradient) {
    using std::pow, std::sqrt;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const long double g = static_cast<long double>(gradient[i]) * s.gradient_scale;
      first[i] = s.beta1 * first[i] + (1.0L - s.beta1) * g;
      second[i] = s.beta2 * second[i] + (1.0L - s.beta2) * g * g;
      const long double m = first[i] / (1.0L - pow(static_cast<long double>(s.beta1), s.step));
      const long double v = second[i] / (1.0L - pow(static_cast<long double>(s.beta2), s.step));
      value[i] = value[i] - s.rate * s.weight_decay * value[i] - s.rate * m / (sqrt(v) + s.epsilon);
    }
  }

  std::vector<long double> value, first, second;
};

template <class T>
double largest_difference(const std::vector<T>& found, const std::vector<long double>& expected) {
  long double largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) largest = std::max(largest, std::abs(found[i] - expected[i]));
  return static_cast<double>(largest);
}

template <class T>
void check_against_the_reference(Index n) {
  Parameters<T> p(n);
  Reference<T> reference(p);
  AdamWStep s{.rate = 3e-3, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .gradient_scale = 0.5};
  const double u = std::numeric_limits<T>::epsilon() / 2;
  for (s.step = 1; s.step <= 10; ++s.step) {
    p.draw_gradient(s.step);
    p.update(s);
    reference.update(s, p.gradient);
    const auto steps = static_cast<double>(s.step);
    // A value of size 5 at most takes two roundings a step, and its factor one; a step is at most a few rates, where
    // the gradient is of one sign, and has a dozen roundings, most of them of the ten sums in its moments.
    BOOST_TEST(largest_difference(p.value, reference.value) < steps * u * (3 * 5 + 24 * 3e-3 * 4));
    BOOST_TEST(largest_difference(p.first, reference.first) < steps * 4 * u * 0.05);
    BOOST_TEST(largest_difference(p.second, reference.second) < steps * 4 * u * 0.05 * 0.05);
  }
}

BOOST_AUTO_TEST_SUITE(optimizer_step)

BOOST_AUTO_TEST_CASE(ten_steps_are_those_of_the_slow_reference) {
  for (const Index n : {1, 7, 8, 16, 33, 1000, 40001}) {
    check_against_the_reference<float>(n);
    check_against_the_reference<double>(n);
  }
}

BOOST_AUTO_TEST_CASE(the_first_step_moves_every_value_by_the_rate_against_the_sign_of_its_gradient) {
  // m / (1 - beta1) = g and sqrt(v / (1 - beta2)) = |g| at step 1, so that g / |g| remains
  Parameters<double> p(100);
  const auto before = p.value;
  p.update({.rate = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .epsilon = 0, .weight_decay = 0, .step = 1});
  for (std::size_t i = 0; i < before.size(); ++i) {
    BOOST_TEST(std::abs(p.value[i] - (before[i] - std::copysign(1e-2, p.gradient[i]))) < 16 * 0x1p-53 * 5);
  }
}

BOOST_AUTO_TEST_CASE(a_constant_gradient_moves_a_value_by_the_rate_in_each_of_ten_steps) {
  // corrected moments of a constant are the constant and its square
  std::vector<double> value{1.0}, first{0.0}, second{0.0};
  const std::vector<double> gradient{0.25};
  AdamWStep s{.rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 0.25, .weight_decay = 0};
  for (s.step = 1; s.step <= 10; ++s.step) {
    adamw<double>(s, value, gradient, first, second);
    // g / (|g| + epsilon) = 1/2
    BOOST_TEST(std::abs(value[0] - (1.0 - 0.05 * static_cast<double>(s.step))) < 16 * 10 * 0x1p-53);
  }
}

BOOST_AUTO_TEST_CASE(without_a_gradient_only_the_decay_is_left) {
  std::vector<float> value{2.0f}, first{0.0f}, second{0.0f};
  const std::vector<float> gradient{0.0f};
  for (Index step = 1; step <= 3; ++step) {
    adamw<float>({.rate = 0.5, .weight_decay = 1.0, .step = step}, value, gradient, first, second);
  }
  BOOST_TEST(value[0] == 0.25f);
}

BOOST_AUTO_TEST_CASE(neither_the_number_of_threads_nor_the_cut_into_calls_changes_a_bit) {
  const Index n = 100003;
  const int before = omp_get_max_threads();
  const AdamWStep step{.rate = 1e-3, .step = 3, .gradient_scale = 0.3};
  Parameters<float> one(n), three(n), parts(n);
  const std::span<const float> values(one.value);
  omp_set_num_threads(1);
  const double sum = sum_of_squares(values);
  one.update(step);
  omp_set_num_threads(3);
  BOOST_TEST(sum_of_squares(std::span<const float>(three.value)) == sum);
  three.update(step);
  for (std::size_t begin = 0, count = 1; begin < parts.value.size(); begin += count, count = 3 * count + 1) {
    count = std::min(count, parts.value.size() - begin);
    parts.update(step, begin, count);
  }
  omp_set_num_threads(before);
  BOOST_TEST((three.value == one.value && three.first == one.first && three.second == one.second));
  BOOST_TEST((parts.value == one.value && parts.first == one.first && parts.second == one.second));
}

BOOST_AUTO_TEST_CASE(a_sum_of_squares_is_right_and_the_same_at_every_address) {
  for (const Index n : {0, 1, 15, 16, 17, 16384, 16385, 70001}) {
    const Parameters<double> p(n);
    const std::vector<float> narrow(p.value.begin(), p.value.end());
    long double wide = 0, rounded = 0;
    for (const double x : p.value) wide += static_cast<long double>(x) * x;
    for (const float x : narrow) rounded += static_cast<long double>(x) * x;
    const double bound = 0x1p-53 * (4 + static_cast<double>(std::min<Index>(n, 16384)) / 16);  // additions in a row
    BOOST_TEST(std::abs(sum_of_squares(std::span<const double>(p.value)) - wide) <= bound * wide);
    const double expected = sum_of_squares(std::span<const float>(narrow));
    BOOST_TEST(std::abs(expected - rounded) <= bound * rounded);
    for (std::size_t offset = 1; offset < 16; ++offset) {
      std::vector<float> shifted(offset);
      shifted.insert(shifted.end(), narrow.begin(), narrow.end());
      BOOST_TEST(sum_of_squares(std::span<const float>(shifted).subspan(offset)) == expected);
    }
  }
  const std::vector<float> large{1e30f, 1e30f};  // squares beyond the range of floats
  BOOST_TEST(std::isfinite(sum_of_squares(std::span<const float>(large))));
}

BOOST_AUTO_TEST_CASE(lengths_that_differ_and_steps_before_the_first_are_refused) {
  std::vector<float> three(3), four(4), first(3), second(3);
  BOOST_CHECK_THROW(adamw<float>({}, three, four, first, second), ContractError);
  BOOST_CHECK_THROW(adamw<float>({}, three, first, four, second), ContractError);
  BOOST_CHECK_THROW(adamw<float>({}, three, first, second, four), ContractError);
  BOOST_CHECK_THROW(adamw<float>({.step = 0}, three, three, first, second), ContractError);
  BOOST_CHECK_THROW(adamw<float>({.beta1 = 1}, three, three, first, second), ContractError);
  BOOST_CHECK_THROW(adamw<float>({.beta2 = -0.1}, three, three, first, second), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::kernels
