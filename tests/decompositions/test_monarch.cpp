#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "decompositions/monarch.hpp"
#include "decompositions/registry.hpp"
#include "framework/linalg/svd.hpp"
#include "tests/decompositions/configured.hpp"
#include "tests/support/kernel_case.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::bound;
using kronlab::testing::message_of;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

constexpr double float_eps = std::numeric_limits<float>::epsilon();

std::unique_ptr<Decomposer> monarch(const std::string& keys) {
  return kronlab::testing::configured("kind = \"monarch\"\n" + keys);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(monarch_matrices)

BOOST_AUTO_TEST_CASE(every_element_is_what_the_definition_says) {
  const Monarch w(random_tensor({3, 4, 10}, RandomStream(1)), random_tensor({5, 6, 4}, RandomStream(2)));  // r = 2
  const auto parts = w.parts();
  const auto left = parts.tensors.at("left").matrix<float>(), right = parts.tensors.at("right").matrix<float>();
  const Tensor dense = w.to_dense();
  Matrix<double> expected(12, 20);
  for (Index i = 0; i < 12; ++i) {
    for (Index j = 0; j < 20; ++j) {
      const Index a = i / 3, b = i % 3, c = j / 4, d = j % 4;
      for (Index k = 0; k < 2; ++k) expected(i, j) += double{left(b * 4 + a, c * 2 + k)} * right(c * 6 + b * 2 + k, d);
    }
  }
  BOOST_TEST(relative_difference(dense.view(), expected.view()) < bound(DType::f32, 2));
}

BOOST_AUTO_TEST_CASE(the_error_is_what_the_slices_lose_and_all_terms_are_exact) {
  const Tensor w = random_tensor({12, 20}, RandomStream(3));
  double previous = 2;
  for (Index terms = 1; terms <= 4; ++terms) {
    const auto decomposer = monarch(fmt::format("left_blocks = 3\nright_blocks = 5\nnum_terms = {}", terms));
    const auto result = decomposer->decompose("w", w.view(), {});
    double lost = 0, all = 0;
    for (Index b = 0; b < 3; ++b) {
      for (Index c = 0; c < 5; ++c) {
        Matrix<double> slice(4, 4);
        for (Index a = 0; a < 4; ++a) {
          for (Index d = 0; d < 4; ++d) slice(a, d) = w.matrix<float>()(a * 3 + b, c * 4 + d);
        }
        const auto s = linalg::truncated_svd(slice, 1).singular_values;
        for (std::size_t k = 0; k < s.size(); ++k) all += s[k] * s[k], lost += static_cast<Index>(k) < terms ? 0.0 : s[k] * s[k];
      }
    }
    BOOST_TEST(std::abs(result.relative_error - std::sqrt(lost / all)) < 20 * float_eps);
    BOOST_TEST(result.relative_error < previous);
    BOOST_TEST(result.factorization->num_parameters() == decomposer->size_of("w", 12, 20).num_parameters);
    BOOST_TEST(result.factorization->stored_bytes() == decomposer->size_of("w", 12, 20).stored_bytes);
    BOOST_TEST(decomposer->cost(12, 20) > 0);
    previous = result.relative_error;
  }
  BOOST_TEST(previous < 20 * float_eps);
}

BOOST_AUTO_TEST_CASE(weighted_by_inputs_the_weighted_error_is_lower_and_the_size_is_known_beforehand) {
  const Tensor w = random_tensor({24, 36}, RandomStream(4));
  LayerStatistics statistics;
  statistics.input_moments = Matrix<double>(36, 36);
  for (Index j = 0; j < 36; ++j) statistics.input_moments(j, j) = 1 + static_cast<double>(j % 7 * j);
  const auto plain = monarch("keep = 0.5"), weighted = monarch("keep = 0.55\nweighting = \"inputs\"");
  BOOST_TEST(plain->size_of("w", 24, 36).num_parameters == 4 * 6 * (6 + 6));  // one term of slices 6 x 6
  const auto result = weighted->decompose("w", w.view(), statistics);
  BOOST_TEST(result.factorization->num_parameters() == plain->size_of("w", 24, 36).num_parameters + 36);
  BOOST_TEST(result.factorization->num_parameters() == weighted->size_of("w", 24, 36).num_parameters);
  BOOST_TEST(*result.weighted_error < *plain->decompose("w", w.view(), statistics).weighted_error);
}

BOOST_AUTO_TEST_CASE(what_does_not_suit_is_refused_with_what_would) {
  const auto message = [](const std::string& keys, Index rows, Index cols) { return message_of([&] { monarch(keys)->size_of("h.0", rows, cols); }); };
  BOOST_TEST(message("left_blocks = 5\nnum_terms = 1", 12, 20) == "monarch: rows of `h.0` (12) are not divisible by left_blocks (5)");
  BOOST_TEST(message("num_terms = 1", 53, 20) == "monarch: rows of `h.0` (53) are no product of two factors of about the same size; 52 and 54 can be; or give left_blocks");
  BOOST_TEST(message("left_blocks = 3\nright_blocks = 5\nnum_terms = 5", 12, 20) == "monarch: 5 terms for `h.0` (12 x 20), but slices of 4 x 4 allow at most 4");
  BOOST_TEST(message("left_blocks = 3\nright_blocks = 5\nkeep = 0.1", 12, 20) ==
             "monarch: keep is 0.1 for `h.0` (12 x 20), but 15 slices of 4 x 4 need at least 0.5, with one term");
  BOOST_TEST(message("", 12, 20) == "f.toml:1:1: kind: monarch: give either num_terms or keep");
  BOOST_TEST(message("keep = 0.0", 12, 20) == "f.toml:1:1: kind: monarch: keep is 0, expected a share of the parameters above 0");
  const auto error = [](std::vector<Index> left, std::vector<Index> right) {
    return message_of([&] { Monarch(random_tensor(left, RandomStream(1)), random_tensor(right, RandomStream(2))); });
  };
  BOOST_TEST(error({3, 4, 9}, {5, 6, 4}) == "monarch: left blocks [3, 4, 9] do not fit right blocks [5, 6, 4]");
  BOOST_TEST(error({3, 4, 10}, {5, 7, 4}) == "monarch: left blocks [3, 4, 10] do not fit right blocks [5, 7, 4]");
  BOOST_TEST(error({3, 4}, {5, 6, 4}) == "monarch: left and right are no arrays of floats with three extents");
}

BOOST_AUTO_TEST_SUITE_END()
