#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "framework/kernels/loss.hpp"
#include "tests/support/kernel_case.hpp"

namespace kronlab::kernels {
namespace {

using testing::activation_types;
using testing::bound;
using testing::random_matrix;
using testing::Strided;
namespace reference = testing::reference;

struct Result {
  std::vector<double> nll;
  std::vector<std::int32_t> best;
};

/// Every row's loss with the logits handed over in slices of at most `width`.
Result in_slices(Strided& logits, std::span<const std::int32_t> targets, Index width) {
  StreamingLogLikelihood likelihood(targets);
  const TensorView all = logits.view();
  for (Index first = 0; first < all.cols; first += width) {
    likelihood.add_slice(all.block(0, first, all.rows, std::min(width, all.cols - first)), first);
  }
  Result result;
  result.nll.resize(targets.size());
  likelihood.negative_log_likelihood(result.nll);
  result.best.assign(likelihood.most_likely().begin(), likelihood.most_likely().end());
  return result;
}

std::vector<std::int32_t> every_index(Index count) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int32_t>(i);
  return all;
}

constexpr double infinity = std::numeric_limits<double>::infinity();

BOOST_AUTO_TEST_SUITE(loss)

BOOST_AUTO_TEST_CASE(losses_are_those_of_the_slow_reference_with_the_target_in_any_slice) {
  for (const DType type : activation_types) {
    for (const Index vocabulary : {1, 2, 16, 37, 100}) {
      Strided logits(type, random_matrix(vocabulary, vocabulary, RandomStream(1)));  // row i has target i
      const auto targets = every_index(vocabulary);
      const auto values = logits.values();
      for (const Index width : {Index{1}, Index{5}, Index{16}, vocabulary}) {
        const Result found = in_slices(logits, targets, width);
        for (Index i = 0; i < vocabulary; ++i) {
          const auto at = static_cast<std::size_t>(i);
          // nothing is rounded to bf16 here; the sum is of positive terms, so its relative error is the loss's absolute
          // one
          const double expected = reference::negative_log_likelihood(values.row(i), i);
          BOOST_TEST(std::abs(found.nll[at] - expected) < bound(type == DType::f64 ? type : DType::f32, vocabulary));
          const auto best = std::max_element(values.row(i).begin(), values.row(i).end()) - values.row(i).begin();
          BOOST_TEST(found.best[at] == best);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(large_logits_neither_overflow_nor_vanish) {
  for (const DType type : activation_types) {
    Matrix<double> values(1, 9);
    for (Index j = 0; j < 9; ++j) values(0, j) = j == 4 ? 1e4 : j == 7 ? -1e30 : -1e4 * static_cast<double>(j);
    Strided logits(type, values);
    const auto stored = logits.values();
    for (const std::int32_t target : {0, 4, 7, 8}) {
      for (const Index width : {1, 4, 9}) {
        const Result found = in_slices(logits, std::span(&target, 1), width);
        BOOST_TEST(found.nll[0] == stored(0, 4) - stored(0, target),
                   boost::test_tools::tolerance(bound(DType::f64, 9)));
        BOOST_TEST(found.best[0] == 4);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(masked_logits_count_for_nothing_even_where_a_whole_slice_is_masked) {
  for (const DType type : activation_types) {
    auto values = random_matrix(3, 12, RandomStream(2));
    Matrix<double> kept(3, 4);
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 12; ++j) {
        if (j < 4 || j >= 8) values(i, j) = -infinity;
      }
    }
    Strided logits(type, values);
    const auto stored = logits.values();
    for (Index i = 0; i < 3; ++i) std::copy_n(&stored(i, 4), 4, &kept(i, 0));
    const std::int32_t targets[] = {4, 7, 0};  // the last one is masked: impossible
    for (const Index width : {1, 2, 4, 5, 12}) {
      const Result found = in_slices(logits, targets, width);
      for (const Index i : {0, 1}) {
        const double expected = reference::negative_log_likelihood(kept.row(i), targets[i] - 4);
        BOOST_TEST(std::abs(found.nll[static_cast<std::size_t>(i)] - expected) <
                   bound(type == DType::f64 ? type : DType::f32, 12));
      }
      BOOST_TEST(found.nll[2] == infinity);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_logit_that_is_no_number_makes_the_loss_no_number) {
  for (const DType type : activation_types) {
    for (const Index place : {0, 3, 7}) {
      auto values = random_matrix(1, 8, RandomStream(2));
      values(0, place) = std::nan("");
      Strided logits(type, values);
      const std::int32_t target = 2;
      for (const Index width : {1, 3, 8})
        BOOST_TEST(std::isnan(in_slices(logits, std::span(&target, 1), width).nll[0]));
    }
  }
}

BOOST_AUTO_TEST_CASE(among_equals_the_lowest_index_is_the_most_likely) {
  Matrix<double> values(1, 10);
  values(0, 3) = values(0, 4) = values(0, 8) = 2;
  Strided logits(DType::f32, values);
  const std::int32_t target = 0;
  for (const Index width : {1, 2, 4, 10}) BOOST_TEST(in_slices(logits, std::span(&target, 1), width).best[0] == 3);
}

BOOST_AUTO_TEST_CASE(slices_that_do_not_fit_are_refused) {
  const std::int32_t targets[] = {1, 2};
  StreamingLogLikelihood likelihood(targets);
  Tensor rows(DType::f32, {3, 4}), none(DType::f32, {2, 0});
  BOOST_CHECK_THROW(likelihood.add_slice(rows.view(), 0), ContractError);
  BOOST_CHECK_THROW(likelihood.add_slice(none.view(), 0), ContractError);
  std::vector<double> nll(3);
  BOOST_CHECK_THROW(likelihood.negative_log_likelihood(nll), ContractError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace kronlab::kernels
