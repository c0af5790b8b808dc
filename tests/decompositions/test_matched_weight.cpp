#include <boost/test/unit_test.hpp>
#include <cmath>
#include <utility>

#include "decompositions/matched_weight.hpp"
#include "decompositions/moment_scales.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;

namespace {

constexpr Index tokens = 60, in = 12, out = 5;
constexpr double damping = 0.01;

struct Inputs {
  Matrix<double> now = random_matrix(tokens, in, RandomStream(1)), before = random_matrix(tokens, in, RandomStream(2));

  LayerStatistics statistics() const {
    LayerStatistics result;
    result.input_moments = product(now), result.reference_moments = product(before);
    return result;
  }

 private:
  /// A^T X / tokens.
  Matrix<double> product(const Matrix<double>& a) const {
    Matrix<double> sums(in, in);
    linalg::gemm(linalg::Transpose::yes, a.view(), linalg::Transpose::no, now.view(), 0.0, sums.view());
    for (Index i = 0; i < sums.size(); ++i) sums.data()[i] /= tokens;
    return sums;
  }
};

/// |X V^T - X' W^T|^2 / tokens + d |V - W|^2: what the matched weight is the least of.
double objective(const Inputs& x, const Matrix<double>& v, const Matrix<double>& w, double floor) {
  double sum = 0;
  for (Index t = 0; t < tokens; ++t) {
    for (Index o = 0; o < out; ++o) {
      double difference = 0;
      for (Index i = 0; i < in; ++i) difference += x.now(t, i) * v(o, i) - x.before(t, i) * w(o, i);
      sum += difference * difference / tokens;
    }
  }
  for (Index i = 0; i < v.size(); ++i) sum += floor * (v.data()[i] - w.data()[i]) * (v.data()[i] - w.data()[i]);
  return sum;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(matched_weights)

BOOST_AUTO_TEST_CASE(no_other_weight_is_nearer_to_the_former_outputs) {
  Inputs x;
  for (Index i = 0; i < x.now.size(); ++i) x.now.data()[i] = x.before.data()[i] + 0.5 * x.now.data()[i];
  const auto weight = random_tensor({out, in}, RandomStream(3));
  const auto statistics = x.statistics();
  const double floor = damping * mean_diagonal(statistics.input_moments);
  const auto w = to_matrix<double>(weight.view());
  const auto matched = to_matrix<double>(matched_weight(weight.view(), statistics, damping).view());
  const double least = objective(x, matched, w, floor);
  BOOST_TEST(least < 0.9 * objective(x, w, w, floor));
  for (Index i = 0; i < out * in; ++i) {
    for (const double step : {-1e-3, 1e-3}) {  // the matched weight is rounded to float32: 1e-7
      auto other = to_matrix<double>(matched.view());
      other.data()[i] += step;
      BOOST_TEST(objective(x, other, w, floor) > least);
    }
  }
}

BOOST_AUTO_TEST_CASE(inputs_that_did_not_change_leave_the_weight) {
  Inputs x;
  x.before = to_matrix<double>(x.now.view());
  const auto weight = random_tensor({out, in}, RandomStream(3));
  const auto matched = matched_weight(weight.view(), x.statistics(), damping);
  // W (C + d) (C + d)^-1 in double, condition below 100, then one rounding to float32
  for (Index i = 0; i < out; ++i) {
    for (Index j = 0; j < in; ++j) BOOST_TEST(std::abs(matched.matrix<float>()(i, j) - weight.matrix<float>()(i, j)) < 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(moments_of_another_width_or_that_are_no_numbers_are_refused) {
  Inputs x;
  const auto weight = random_tensor({out, in}, RandomStream(3));
  auto statistics = x.statistics();
  statistics.reference_moments = Matrix<double>(in - 1, in - 1);
  BOOST_CHECK_THROW(matched_weight(weight.view(), statistics, damping), ContractError);
  statistics = x.statistics();
  statistics.input_moments(0, 0) = std::nan("");
  BOOST_CHECK_THROW(matched_weight(weight.view(), statistics, damping), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
