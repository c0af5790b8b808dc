#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "decompositions/pruning_policy.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/upper_factor.hpp"
#include "framework/storage/safetensors.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::message_of;
using kronlab::testing::random_matrix;
using kronlab::testing::relative_difference;
using linalg::Transpose;

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();
constexpr double float_eps = std::numeric_limits<float>::epsilon();

/// Second moments of correlated variables.
Matrix<double> moments(Index n, std::uint64_t seed) {
  const auto mixing = random_matrix(n, n, RandomStream(seed).child(0)),
             plain = random_matrix(2 * n, n, RandomStream(seed).child(1));
  Matrix<double> samples(2 * n, n), result(n, n);
  linalg::gemm(Transpose::no, plain.view(), Transpose::no, mixing.view(), 0.0, samples.view());
  linalg::gram(std::as_const(samples).view(), result);
  return result;
}

Matrix<double> product(Transpose ta, const Matrix<double>& a, Transpose tb, const Matrix<double>& b) {
  Matrix<double> c(ta == Transpose::yes ? a.cols() : a.rows(), tb == Transpose::yes ? b.rows() : b.cols());
  linalg::gemm(ta, a.view(), tb, b.view(), 0.0, c.view());
  return c;
}

/// tr(dW R R^T dW^T)
double weighted_square(const Matrix<double>& a, const Matrix<double>& b, const Matrix<double>& factor) {
  auto d = a;
  for (Index i = 0; i < d.size(); ++i) d.data()[i] -= b.data()[i];
  const auto dr = product(Transpose::no, d, Transpose::no, factor);
  return std::inner_product(dr.data(), dr.data() + dr.size(), dr.data(), 0.0);
}

/// The algorithm as the papers have it: U of all of H^-1, every column at once to the right.
void reference_sweep(const Matrix<double>& factor, const auto& settle, Matrix<double>& w) {
  const auto u = linalg::inverse_of_upper(factor.view());
  for (Index j = 0; j < w.cols(); ++j) {
    for (Index i = 0; i < w.rows(); ++i) {
      const double settled = settle(i, j, std::as_const(w).row(i).subspan(static_cast<std::size_t>(j)));
      const double e = (w(i, j) - settled) / u(j, j);
      for (Index k = j + 1; k < w.cols(); ++k) w(i, k) -= e * u(j, k);
      w(i, j) = settled;
    }
  }
}

class Golden {
 public:
  explicit Golden(const std::filesystem::path& folder)
      : tensors_((folder / "golden.safetensors").string()),
        weight(to_matrix<double>(tensors_.load("weight", DType::f64).view())) {
    const auto inputs = tensors_.load("inputs", DType::f64);
    Matrix<double> c(inputs.cols(), inputs.cols());
    linalg::gram(inputs.view(), c);
    for (Index i = 0; i < c.size(); ++i) c.data()[i] /= static_cast<double>(inputs.rows());
    factor = sweep_moments("w", c, 0.01, ColumnOrder::given).factor;
  }
  Matrix<double> swept(ColumnPolicy& policy) const {
    auto w = weight;
    sweep_columns(factor, policy, w);
    return w;
  }
  /// The same masks and codes, and weights to rounding: in double within a panel, in float32 between panels. Neither a
  /// score nor a weight lies so near to its threshold that rounding decides.
  void check(const std::string& name, const Matrix<double>& found) const {
    BOOST_TEST_CONTEXT(name) {
      BOOST_TEST(relative_difference(found.view(), tensors_.load(name, DType::f64).view()) < 10 * float_eps);
    }
  }

 private:
  storage::SafetensorsFile tensors_;

 public:
  Matrix<double> weight, factor;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(column_sweeps)

BOOST_AUTO_TEST_CASE(sparsegpt_is_that_of_the_reference) {
  KRONLAB_NEEDS_DATA(folder, "golden/compression");
  const Golden golden(folder);
  const auto check = [&](const std::string& name, const PruningAmount& amount, Index block) {
    PruningPolicy policy(24, golden.factor, amount, block);
    golden.check(name, golden.swept(policy));
  };
  check("sparsegpt_50_block48", {.sparsity = 0.5}, 48);
  check("sparsegpt_50_block12", {.sparsity = 0.5}, 12);
  for (const Index block : {1, 12, 20, 128}) {  // n:m does not depend on it
    check("sparsegpt_2_4", {.sparsity = {}, .pattern = {2, 4}}, block);
    check("sparsegpt_4_8", {.sparsity = {}, .pattern = {4, 8}}, block);
  }
}

BOOST_AUTO_TEST_CASE(rounding_and_gptq_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(folder, "golden/compression");
  const Golden golden(folder);
  for (const Index bits : {4, 3}) {
    for (const Index group : {48, 12}) {
      const QuantisationGrid options{.bits = bits, .group = group};
      RoundingPolicy nearest(24, 48, options, ScaleRounding::none), swept(24, 48, options, ScaleRounding::none);
      auto rounded = golden.weight;
      round_to_nearest(rounded, nearest);
      golden.check(fmt::format("rtn_{}bit_group{}", bits, group), rounded);
      golden.check(fmt::format("gptq_{}bit_group{}", bits, group), golden.swept(swept));
    }
  }
}

BOOST_AUTO_TEST_CASE(neither_panels_nor_threads_change_more_than_rounding_does) {
  constexpr Index rows = 150, cols = 530;
  const auto c = moments(cols, 1);
  const auto factor = sweep_moments("w", c, 0.01, ColumnOrder::given).factor;
  const auto w = random_matrix(rows, cols, RandomStream(2));
  const auto check = [&](auto&& make) {
    auto expected = w, found = w;
    auto policy = make();
    policy.start(w);
    reference_sweep(
        factor, [&](Index i, Index j, std::span<const double> weights) { return policy.settle(i, j, weights); },
        expected);
    auto again = make();
    const double error = sweep_columns(factor, again, found);
    BOOST_TEST(std::abs(error / weighted_square(w, found, factor) - 1) < 1e3 * cols * float_eps);
    // Columns of R are up to about 100 times as long as their diagonal entry. A row in which a weight lies on the edge
    // of its code may go another way from there.
    Index num_others = 0;
    for (Index i = 0; i < rows; ++i) {
      const auto row = [&](const Matrix<double>& of) { return of.view().block(i, 0, 1, cols); };
      num_others += relative_difference(row(found), row(expected)) < 100 * 10 * float_eps ? 0 : 1;
    }
    BOOST_TEST(num_others <= 3);
    const int threads = omp_get_max_threads();
    for (const int num_threads : {2, 3}) {
      omp_set_num_threads(num_threads);
      auto policy_again = make();
      auto bits = w;
      BOOST_TEST(sweep_columns(factor, policy_again, bits) == error);
      BOOST_TEST(relative_difference(bits.view(), found.view()) == 0.0);
    }
    omp_set_num_threads(threads);
  };
  for (const Index group : {0, 32, 48, 130, 400})
    check([&] { return RoundingPolicy(rows, cols, {.bits = 3, .group = group}, ScaleRounding::none); });
  for (const Index block : {16, 64, 256}) {
    check([&] { return PruningPolicy(rows, factor, {.sparsity = {}, .pattern = {1, 2}}, block); });
    for (const Index group : {0, 32, 256})
      check([&] {
        return PruningPolicy(rows, factor, {.sparsity = {}, .pattern = {1, 2}}, block,
                             RoundingPolicy(rows, cols, {.bits = 4, .group = group}, ScaleRounding::none));
      });
  }
}

BOOST_AUTO_TEST_CASE(the_cheapest_removal_of_one_weight_is_that_of_the_closed_form) {
  constexpr Index n = 6;
  const auto c = moments(n, 3);
  const auto w = random_matrix(1, n, RandomStream(4));
  for (Index removed = 0; removed < n; ++removed) {
    // First in the order: all others are free to move.
    std::vector<Index> order{removed};
    for (Index j = 0; j < n; ++j) {
      if (j != removed) order.push_back(j);
    }
    Matrix<double> h(n, n), inverse(n, n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) h(i, j) = c(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
    }
    const auto factor = linalg::upper_factor(h);
    const auto u = linalg::inverse_of_upper(factor.view());
    inverse = product(Transpose::yes, u, Transpose::no, u);
    PruningMask mask(1, n);
    mask(0, 0) = 1;
    PruningPolicy policy(mask);
    const auto before = with_columns_ordered(w, order);
    auto after = before;
    const double error = sweep_columns(factor, policy, after);
    BOOST_TEST(std::abs(error / (before(0, 0) * before(0, 0) / inverse(0, 0)) - 1) < 1e4 * n * eps);
    for (Index k = 0; k < n; ++k)  // dW = -w_0 / [H^-1]_00 H^-1_0:
      BOOST_TEST(std::abs(after(0, k) - (before(0, k) - before(0, 0) / inverse(0, 0) * inverse(0, k))) < 1e4 * n * eps);
    BOOST_TEST(relative_difference(with_columns_restored(before, order).view(), w.view()) == 0.0);
    for (Index k = 1; k < n; ++k) {  // nothing nearby is better
      for (const double step : {-1e-3, 1e-3}) {
        auto near = after;
        near(0, k) += step;
        BOOST_TEST(weighted_square(before, near, factor) > error);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(gptq_of_one_column_and_of_uncorrelated_inputs_is_rounding) {
  for (const Index cols : {1, 40}) {
    const auto w = random_matrix(8, cols, RandomStream(5));
    Matrix<double> diagonal(cols, cols);
    for (Index j = 0; j < cols; ++j) diagonal(j, j) = 1.0 + static_cast<double>(j);
    const QuantisationGrid options{.bits = 3, .group = 8, .symmetric = true};
    RoundingPolicy nearest(8, cols, options), swept(8, cols, options);
    auto a = w, b = w;
    round_to_nearest(a, nearest);
    sweep_columns(sweep_moments("w", diagonal, 0.01, ColumnOrder::given).factor, swept, b);
    BOOST_TEST(relative_difference(a.view(), b.view()) == 0.0);
    for (Index i = 0; i < nearest.codes().size(); ++i)
      BOOST_REQUIRE(nearest.codes().data()[i] == swept.codes().data()[i]);
  }
}

BOOST_AUTO_TEST_CASE(masks_prune_the_smallest_scores_and_of_equal_ones_the_first) {
  for (const Index cols : {1, 7, 64, 130}) {
    auto scores = random_matrix(11, cols, RandomStream(6));
    for (Index i = 0; i < scores.size(); ++i)
      scores.data()[i] = std::round(std::abs(scores.data()[i]) * 4) / 4;  // many are equal
    for (const double sparsity : {0.0, 0.3, 0.5, 0.99}) {
      const auto expect = [&](std::span<const double> s, std::span<const std::uint8_t> mask, Index count) {
        std::vector<std::size_t> order(s.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::ranges::stable_sort(order, {}, [&](std::size_t at) { return s[at]; });
        for (std::size_t k = 0; k < order.size(); ++k)
          BOOST_REQUIRE(mask[order[k]] == (static_cast<Index>(k) < count ? 1 : 0));
      };
      PruningMask of_all(11, cols), of_rows(11, cols);
      prune_smallest_of_all(scores, num_pruned(sparsity, 11 * cols), of_all);
      expect({scores.data(), static_cast<std::size_t>(scores.size())},
             {of_all.data(), static_cast<std::size_t>(scores.size())}, num_pruned(sparsity, 11 * cols));
      prune_smallest_of_rows(scores, num_pruned(sparsity, cols), of_rows);
      for (Index i = 0; i < 11; ++i) {
        expect(scores.row(i), of_rows.row(i), num_pruned(sparsity, cols));
        std::vector<std::uint8_t> of_group(static_cast<std::size_t>(cols));
        prune_smallest_of_group(scores.row(i), cols - num_pruned(sparsity, cols), of_group);
        expect(scores.row(i), of_group, num_pruned(sparsity, cols));
      }
    }
  }
  BOOST_TEST(num_pruned(0.29, 100) == 29);  // 0.29 * 100 < 29 in double
  BOOST_TEST(num_pruned(0.5, 3) == 1);
  BOOST_TEST(num_pruned(1.0 - 1e-16, 3) == 2);
}

BOOST_AUTO_TEST_CASE(moments_that_say_nothing_are_refused_and_dead_inputs_are_found) {
  Matrix<double> c(3, 3);
  const auto none = message_of([&] { sweep_moments("h.0", c, 0.01, ColumnOrder::given); });
  BOOST_TEST(none.find("layer `h.0`: all second moments of its inputs are 0: no token") != std::string::npos, none);
  c(0, 0) = c(0, 2) = c(2, 0) = c(2, 2) = 1.0;
  const auto singular = message_of([&] { sweep_moments("h.0", c, 0.0, ColumnOrder::given); });
  BOOST_TEST(
      singular.find("layer `h.0`: second moments of its inputs with damping 0: a matrix is not positive definite") !=
          std::string::npos,
      singular);
  BOOST_TEST(singular.find("damp more") != std::string::npos, singular);
  c(2, 2) = 2.0;
  const auto found = sweep_moments("h.0", c, 0.0, ColumnOrder::by_activation);
  BOOST_TEST(found.order == (std::vector<Index>{2, 0, 1}), boost::test_tools::per_element());
  BOOST_TEST(found.dead == std::vector<Index>{1}, boost::test_tools::per_element());
  BOOST_TEST(found.factor(2, 2) == 1.0);
}

BOOST_AUTO_TEST_SUITE_END()
