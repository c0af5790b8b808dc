#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "framework/linalg/gemm.hpp"
#include "framework/linalg/upper_factor.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::linalg;
using kronlab::testing::random_matrix;
using kronlab::testing::relative_difference;

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();

Matrix<double> positive(Index n, std::uint64_t seed) {
  const auto x = random_matrix(2 * n, n, RandomStream(seed));
  Matrix<double> g(n, n);
  gram(x.view(), g);
  return g;
}

Matrix<double> product(Transpose ta, const Matrix<double>& a, Transpose tb, const Matrix<double>& b) {
  Matrix<double> c(a.rows(), a.rows());
  gemm(ta, a.view(), tb, b.view(), 0.0, c.view());
  return c;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(upper_factors)

BOOST_AUTO_TEST_CASE(the_factor_times_its_transpose_is_the_matrix_and_its_inverse_gives_the_inverse) {
  for (const Index n : {1, 2, 127, 128, 129, 300}) {
    const auto h = positive(n, 1);
    const auto r = upper_factor(h);
    for (Index i = 0; i < n; ++i) {
      BOOST_TEST(r(i, i) > 0);
      for (Index j = 0; j < i; ++j) BOOST_REQUIRE(r(i, j) == 0.0);
    }
    BOOST_TEST(relative_difference(product(Transpose::no, r, Transpose::yes, r).view(), h.view()) <
               10 * static_cast<double>(n) * eps);
    const auto u = inverse_of_upper(r);
    Matrix<double> identity(n, n);
    for (Index i = 0; i < n; ++i) identity(i, i) = 1;
    // U^T U H = I, up to the condition of H, at most (sqrt(2 n) + sqrt(n))^2 / (sqrt(2 n) - sqrt(n))^2 = 34 or so
    const auto inverse = product(Transpose::yes, u, Transpose::no, u);
    BOOST_TEST(relative_difference(product(Transpose::no, inverse, Transpose::no, h).view(), identity.view()) <
               100 * 10 * static_cast<double>(n) * eps);
  }
}

BOOST_AUTO_TEST_CASE(a_matrix_that_is_not_positive_definite_is_refused) {
  auto h = positive(200, 2);
  h(150, 150) = -1;
  const auto message = testing::message_of([&] { upper_factor(h); });
  BOOST_TEST(message.find("not positive definite: the pivot of row 150 is -") != std::string::npos, message);
  h(150, 150) = std::nan("");
  BOOST_CHECK_THROW(upper_factor(h), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
