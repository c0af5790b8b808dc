#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "decompositions/decomposer.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::message_of;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

LayerStatistics random_statistics(Index width, RandomStream random) {
  LayerStatistics statistics;
  statistics.input_moments = Matrix<double>(width, width);
  linalg::gram(random_matrix(4 * width, width, random).view(), statistics.input_moments);
  statistics.num_tokens = 4 * width;
  return statistics;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(decomposers)

BOOST_AUTO_TEST_CASE(kronecker_errors_are_the_tail_of_the_rearranged_spectrum_and_fall_with_terms) {
  const Tensor w = random_tensor({12, 20}, RandomStream(2));
  for (const auto& [m1, n1] : {std::pair<Index, Index>{6, 5}, {2, 4}, {12, 10}}) {
    const auto spectrum = linalg::truncated_svd(rearrange(w.view(), m1, n1), 1).singular_values;
    double total = 0, previous = 2;
    for (const double s : spectrum) total += s * s;
    double kept = 0;
    for (Index terms = 1; terms <= static_cast<Index>(spectrum.size()); ++terms) {
      kept += spectrum[static_cast<std::size_t>(terms - 1)] * spectrum[static_cast<std::size_t>(terms - 1)];
      const auto result = make_kronecker_decomposer({m1, n1, terms})->decompose("w", w.view(), {});
      BOOST_TEST(std::abs(result.relative_error - std::sqrt(std::max(0.0, 1 - kept / total))) <
                 1e-3 * std::numeric_limits<float>::epsilon() + 1e-6 * (terms == static_cast<Index>(spectrum.size())) +
                     1e-7);
      BOOST_TEST(result.relative_error < previous);
      BOOST_TEST(result.factorization->num_parameters() ==
                 make_kronecker_decomposer({m1, n1, terms})->size_of("w", 12, 20).num_parameters);
      previous = result.relative_error;
    }
  }
}

BOOST_AUTO_TEST_CASE(svd_at_full_truncation_is_exact_and_its_size_is_known_beforehand) {
  const Tensor w = random_tensor({9, 14}, RandomStream(4));
  const auto exact = make_svd_decomposer({.truncation = 9, .keep = {}})->decompose("w", w.view(), {});
  BOOST_TEST(exact.relative_error < 9 * std::numeric_limits<float>::epsilon());
  const auto half = make_svd_decomposer({.truncation = {}, .keep = 0.5});
  BOOST_TEST(half->size_of("w", 9, 14).num_parameters ==
             half->decompose("w", w.view(), {}).factorization->num_parameters());
}

BOOST_AUTO_TEST_CASE(whitening_lowers_the_weighted_error_below_that_of_plain_svd) {
  const Tensor w = random_tensor({10, 16}, RandomStream(6));
  const auto statistics = random_statistics(16, RandomStream(8));
  const SvdOptions size{.truncation = 4, .keep = {}};
  const auto plain = make_svd_decomposer(size)->decompose("w", w.view(), statistics);
  const auto whitened = make_whitened_svd_decomposer({size, 0.0})->decompose("w", w.view(), statistics);
  BOOST_TEST(*whitened.weighted_error < *plain.weighted_error);
  BOOST_TEST(whitened.relative_error > plain.relative_error);
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_suit_are_named_with_their_layer) {
  BOOST_TEST(message_of([] {
               make_kronecker_decomposer({100, 384, 1})->size_of("h.3.mlp.c_fc", 3072, 768);
             }) == "kronecker: rows of `h.3.mlp.c_fc` (3072) are not divisible by left_rows (100)");
  BOOST_CHECK_THROW(make_kronecker_decomposer({768, 100, 1})->size_of("w", 3072, 768), ConfigError);
  BOOST_CHECK_THROW(make_kronecker_decomposer({1536, 384, 5})->size_of("w", 3072, 768), ConfigError);
  BOOST_CHECK_THROW(make_kronecker_decomposer({0, 384, 5}), ConfigError);
  const KroneckerOptions both{.left_rows = 768, .left_cols = 384, .num_terms = 4, .right_rows = 4, .right_cols = 2};
  BOOST_TEST(make_kronecker_decomposer(both)->size_of("w", 3072, 768).num_parameters == 4 * (768 * 384 + 8));
  BOOST_TEST(message_of([&] { make_kronecker_decomposer(both)->size_of("w", 3072, 770); }) ==
             "kronecker: columns of `w` (770) are not left_cols (384) x right_cols (2)");
  BOOST_CHECK_THROW(make_kronecker_decomposer(both)->size_of("w", 1536, 768), ConfigError);
  BOOST_CHECK_THROW(make_svd_decomposer({}), ConfigError);
  BOOST_CHECK_THROW(make_svd_decomposer({.truncation = 10, .keep = {}})->size_of("w", 9, 14), ConfigError);
  BOOST_CHECK_THROW(make_whitened_svd_decomposer({{.truncation = 2, .keep = {}}, -1.0}), ConfigError);
}

BOOST_AUTO_TEST_CASE(bad_weights_and_missing_moments_are_data_errors_and_a_zero_weight_is_not) {
  Tensor w = random_tensor({8, 8}, RandomStream(6));
  w.values<float>()[11] = std::numeric_limits<float>::quiet_NaN();
  BOOST_CHECK_THROW(make_svd_decomposer({.truncation = 2, .keep = {}})->decompose("w", w.view(), {}), DataError);
  const Tensor zero(DType::f32, {8, 8});
  BOOST_TEST(make_kronecker_decomposer({4, 4, 1})->decompose("w", zero.view(), {}).relative_error == 0.0);
  BOOST_CHECK_THROW(make_whitened_svd_decomposer({{.truncation = 2, .keep = {}}, 0.0})->decompose("w", zero.view(), {}),
                    DataError);
  LayerStatistics singular;
  singular.input_moments = Matrix<double>(8, 8);
  BOOST_CHECK_THROW(
      make_whitened_svd_decomposer({{.truncation = 2, .keep = {}}, 0.0})->decompose("w", zero.view(), singular),
      DataError);
}

BOOST_AUTO_TEST_SUITE_END()
