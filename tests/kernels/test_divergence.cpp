#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numbers>
#include <numeric>

#include "framework/base/random.hpp"
#include "framework/kernels/divergence.hpp"
#include "tests/support/message_of.hpp"

namespace kronlab::kernels {
namespace {

/// Rows of logits of a model and of one that is off by `distance` times as much as they vary.
struct TwoModels {
  Matrix<double> reference, logits;
  std::vector<std::int32_t> targets;
  TwoModels(Index rows, Index vocabulary, double distance, double spread) : reference(rows, vocabulary), logits(rows, vocabulary) {
    RandomStream random(7);
    for (Index i = 0; i < reference.size(); ++i) {
      reference.data()[i] = spread * random.normal();
      logits.data()[i] = reference.data()[i] + distance * spread * random.normal() + 3.0;  // a shift of all changes nothing
    }
    for (Index i = 0; i < rows; ++i) targets.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  }
  std::vector<RowDivergence> found(DType dtype) const {
    Tensor p(dtype, {reference.rows(), reference.cols()}), q(dtype, {reference.rows(), reference.cols()});
    convert(reference.view(), p.view()), convert(logits.view(), q.view());
    std::vector<RowDivergence> rows(targets.size());
    divergences(std::as_const(p).view(), std::as_const(q).view(), targets, rows);
    return rows;
  }
};

std::vector<long double> softmax(std::span<const double> row) {
  const double largest = *std::ranges::max_element(row);
  std::vector<long double> p;
  long double sum = 0;
  for (const double x : row) p.push_back(std::exp(static_cast<long double>(x) - largest)), sum += p.back();
  for (auto& x : p) x /= sum;
  return p;
}

/// By definition, in long double.
RowDivergence slow(std::span<const double> reference, std::span<const double> logits, std::int32_t target) {
  const auto p = softmax(reference), q = softmax(logits);
  RowDivergence row;
  long double kl = 0, jsd = 0;
  for (std::size_t j = 0; j < p.size(); ++j) {
    const long double m = (p[j] + q[j]) / 2;
    kl += p[j] * std::log(p[j] / q[j]);
    jsd += (p[j] * std::log(p[j] / m) + q[j] * std::log(q[j] / m)) / 2;
  }
  row.kl = static_cast<double>(kl), row.jsd = static_cast<double>(jsd);
  row.reference_probability = static_cast<double>(p[static_cast<std::size_t>(target)]);
  row.probability = static_cast<double>(q[static_cast<std::size_t>(target)]);
  const auto first = [](const std::vector<long double>& x) {
    std::vector<std::size_t> order(x.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
    order.resize(5);
    return order;
  };
  const auto of_p = first(p), of_q = first(q);
  row.has_same_first = of_p.front() == of_q.front();
  for (const auto j : of_p) row.num_shared_of_5 += std::ranges::find(of_q, j) != of_q.end();
  return row;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(divergence)

BOOST_AUTO_TEST_CASE(divergences_are_those_of_their_definition_for_near_and_for_far_models) {
  for (const double distance : {1e-3, 0.03, 0.5, 4.0}) {
    const TwoModels models(6, 3001, distance, 2.5);
    // In float32 d has an error of about eps |logits|, 10 eps here, beside the distance; in double the series' remainders count.
    const auto tolerance = [&](DType dtype) { return dtype == DType::f64 ? 2e-8 : 40 * 0x1p-23 / distance + 1e-5; };
    for (const auto dtype : {DType::f64, DType::f32}) {
      const auto rows = models.found(dtype);
      for (Index i = 0; i < 6; ++i) {
        const auto& found = rows[static_cast<std::size_t>(i)];
        const auto expected = slow(models.reference.row(i), models.logits.row(i), models.targets[static_cast<std::size_t>(i)]);
        const auto within = boost::test_tools::tolerance(tolerance(dtype));
        BOOST_TEST(found.kl == expected.kl, within);
        BOOST_TEST(found.jsd == expected.jsd, within);
        BOOST_TEST(found.reference_probability == expected.reference_probability, within);
        BOOST_TEST(found.probability == expected.probability, within);
        if (dtype == DType::f64) {
          BOOST_TEST(found.has_same_first == expected.has_same_first);
          BOOST_TEST(found.num_shared_of_5 == expected.num_shared_of_5);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_model_does_not_diverge_from_itself_and_one_that_is_sure_of_another_token_by_all_of_it) {
  TwoModels models(1, 64, 0, 1);
  models.logits = models.reference;
  for (const auto dtype : {DType::f64, DType::f32}) {
    const auto same = models.found(dtype).front();
    BOOST_TEST(same.kl == 0.0);
    BOOST_TEST(same.jsd == 0.0);
    BOOST_TEST(same.has_same_first);
    BOOST_TEST(same.num_shared_of_5 == 5);
  }
  std::fill_n(models.reference.data(), 64, 0.0), std::fill_n(models.logits.data(), 64, 0.0);
  models.reference(0, 3) = models.logits(0, 4) = 60;
  for (const auto dtype : {DType::f64, DType::f32}) {
    const auto other = models.found(dtype).front();
    BOOST_TEST(other.kl == 60.0, boost::test_tools::tolerance(1e-5));
    BOOST_TEST(other.jsd == std::numbers::ln2, boost::test_tools::tolerance(1e-6));
    BOOST_TEST(!other.has_same_first);
  }
}

BOOST_AUTO_TEST_CASE(equal_logits_count_by_index_and_targets_are_checked) {
  TwoModels models(1, 8, 0, 1);
  std::fill_n(models.reference.data(), 8, 1.0), std::fill_n(models.logits.data(), 8, 1.0);
  models.logits(0, 7) = 2.0;  // first of q: 7, 0, 1, 2, 3; of p: 0, 1, 2, 3, 4
  const auto row = models.found(DType::f32).front();
  BOOST_TEST(!row.has_same_first);
  BOOST_TEST(row.num_shared_of_5 == 4);
  models.targets = {8};
  BOOST_TEST(testing::message_of([&] { models.found(DType::f32); }).find("target 8 of 8 logits") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace kronlab::kernels
