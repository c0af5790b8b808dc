#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "decompositions/registry.hpp"
#include "decompositions/sum.hpp"
#include "decompositions/sum_decomposer.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/decompositions/configured.hpp"
#include "tests/decompositions/examples.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::message_of;
using kronlab::testing::random_kronecker;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

constexpr double float_eps = std::numeric_limits<float>::epsilon();
constexpr Index rows = 16, cols = 24;

/// Moments of 2 n samples of mixed variables, so that they are far from diagonal.
Matrix<double> moments(Index n, RandomStream random) {
  const auto mixing = random_matrix(n, n, random.child(0)), plain = random_matrix(2 * n, n, random.child(1));
  Matrix<double> samples(2 * n, n), result(n, n);
  linalg::gemm(linalg::Transpose::no, plain.view(), linalg::Transpose::no, mixing.view(), 0.0, samples.view());
  linalg::gram(std::as_const(samples).view(), result);
  return result;
}

LayerStatistics both_moments(std::uint64_t seed) {
  LayerStatistics statistics;
  statistics.input_moments = moments(cols, RandomStream(seed).child("inputs"));
  statistics.gradient_moments = moments(rows, RandomStream(seed).child("gradient"));
  return statistics;
}

std::unique_ptr<Decomposer> sum_of(const std::string& parts, Index rounds) {
  return kronlab::testing::configured(fmt::format("kind = \"sum\"\nrounds = {}\nparts = [{}]", rounds, parts));
}

const std::string plain_svd = R"({ kind = "svd", truncation = 2 })", plain_kronecker = R"({ kind = "kronecker", right_rows = 2, right_cols = 4 })";
const std::string svd = R"({ kind = "whitened-svd", keep = 0.25, weighting = "two-sided" })";
const std::string kronecker =
    R"({ kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 2, weighting = "two-sided", refit = 5, permute = { kind = "portfolio", weighting = "two-sided" } })";

/// A low-rank matrix plus a Kronecker product.
Tensor planted() {
  std::vector<std::unique_ptr<Factorization>> terms;
  terms.push_back(std::make_unique<LowRank>(random_tensor({rows, 2}, RandomStream(1)), random_tensor({2, cols}, RandomStream(2))));
  terms.push_back(random_kronecker(1, rows / 2, cols / 4, 2, 4, RandomStream(3)));
  return Sum(std::move(terms)).to_dense();
}

/// Answers with three times the weight, which leaves twice of it.
class Overshooting final : public Decomposer {
 public:
  std::string_view kind() const override { return "overshooting"; }
  Size size_of(const std::string&, Index m, Index n) const override { return {m * n, 4 * m * n}; }
  double cost(Index, Index) const override { return 1; }

 private:
  Decomposition do_decompose(const std::string&, ConstTensorView weight, const LayerStatistics&) const override {
    Tensor tripled(DType::f32, {weight.rows, weight.cols});
    convert(weight, tripled.view());
    for (float& value : tripled.values<float>()) value *= 3;
    Decomposition result;
    result.factorization = std::make_unique<Dense>(std::move(tripled));
    return result;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(sums)

BOOST_AUTO_TEST_CASE(more_rounds_are_never_worse_nor_is_a_sum_worse_than_its_first_part_alone) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Tensor w = random_tensor({rows, cols}, RandomStream(seed));
    const auto statistics = both_moments(seed);
    for (const auto& parts : {svd + ", " + kronecker, kronecker + ", " + svd}) {
      double previous = std::numeric_limits<double>::infinity();
      for (const Index rounds : {1, 2, 3, 6}) {
        const auto result = sum_of(parts, rounds)->decompose("w", w.view(), statistics);
        BOOST_TEST(*result.two_sided_error <= previous * (1 + float_eps));
        BOOST_TEST(result.convergence.num_iterations <= rounds);
        previous = *result.two_sided_error;
      }
    }
    const auto svd_alone = make_whitened_svd_decomposer({.size = {.truncation = {}, .keep = 0.25}, .weighting = Weighting::two_sided})->decompose("w", w.view(), statistics);
    const auto unpermuted = make_kronecker_decomposer({.num_terms = 2, .right_rows = 2, .right_cols = 4, .weighting = Weighting::two_sided, .refit = 5});
    const auto kronecker_alone = unpermuted->decompose("w", w.view(), statistics);
    const std::string no_search = R"({ kind = "kronecker", right_rows = 2, right_cols = 4, num_terms = 2, weighting = "two-sided", refit = 5 })";
    BOOST_TEST(*sum_of(svd + ", " + no_search, 1)->decompose("w", w.view(), statistics).two_sided_error < *svd_alone.two_sided_error);
    BOOST_TEST(*sum_of(no_search + ", " + svd, 1)->decompose("w", w.view(), statistics).two_sided_error < *kronecker_alone.two_sided_error);
  }
}

BOOST_AUTO_TEST_CASE(a_low_rank_matrix_plus_a_kronecker_product_is_found_in_either_order) {
  const Tensor w = planted();
  for (const auto& parts : {plain_svd + ", " + plain_kronecker, plain_kronecker + ", " + plain_svd}) {
    // Terms apart from each other: the error falls by a factor in each round, down to that of factors in float32.
    const auto once = sum_of(parts, 1)->decompose("w", w.view(), {}), result = sum_of(parts, 200)->decompose("w", w.view(), {});
    BOOST_TEST(once.relative_error > 0.1);
    BOOST_TEST(result.relative_error < 4 * float_eps);
    BOOST_TEST((result.convergence.reason == Convergence::Reason::converged));
    BOOST_TEST(result.convergence.num_iterations < 200);
  }
}

BOOST_AUTO_TEST_CASE(sizes_and_moments_are_known_beforehand) {
  const Tensor w = random_tensor({rows, cols}, RandomStream(4));
  for (const auto& parts : {svd + ", " + kronecker, plain_kronecker + ", " + plain_svd, plain_svd + ", " + plain_svd + ", " + kronecker}) {
    const auto sum = sum_of(parts, 2);
    const auto result = sum->decompose("w", w.view(), both_moments(4));
    const auto size = sum->size_of("w", rows, cols);
    BOOST_TEST(result.factorization->num_parameters() == size.num_parameters);
    BOOST_TEST(result.factorization->stored_bytes() == size.stored_bytes);
    BOOST_TEST(!sum->grouping_problem("w", rows, cols).has_value());
    BOOST_TEST(sum->cost(rows, cols) > 0);
  }
  const auto searched = [](const char* weighting) {
    return sum_of(plain_svd + fmt::format(R"(, {{ kind = "kronecker", right_rows = 2, right_cols = 4, permute = {{ kind = "norm-sort", weighting = "{}" }} }})", weighting), 1);
  };
  // Permutations of both axes, 4 bytes an entry.
  BOOST_TEST(searched("none")->size_of("w", rows, cols).stored_bytes == sum_of(plain_svd + ", " + plain_kronecker, 1)->size_of("w", rows, cols).stored_bytes + 4 * (rows + cols));
  BOOST_TEST(!searched("none")->needs_input_moments());
  BOOST_TEST(searched("inputs")->needs_input_moments());
  BOOST_TEST((searched("inputs")->needed_gradient_moments() == GradientMoments::none));
  BOOST_TEST((searched("two-sided")->needed_gradient_moments() == GradientMoments::diagonal));
  BOOST_TEST((sum_of(kronecker + ", " + svd, 1)->needed_gradient_moments() == GradientMoments::full));
  const auto shapes = sum_of(svd + ", " + plain_kronecker, 1)->factor_shapes("w", rows, cols);
  BOOST_TEST_REQUIRE(shapes.size() == 1u);
  BOOST_TEST(shapes.at("part1.left").rows == rows / 2);
  BOOST_TEST(shapes.at("part1.left").cols == cols / 4);
}

BOOST_AUTO_TEST_CASE(a_permutation_is_searched_once_and_held_and_depends_on_the_layers_name_alone) {
  const Tensor w = random_tensor({rows, cols}, RandomStream(5));
  const auto statistics = both_moments(5);
  const auto parts_of = [&](const std::string& layer, Index rounds) {
    return sum_of(svd + ", " + kronecker, rounds)->decompose(layer, w.view(), statistics).factorization->parts();
  };
  const auto once = parts_of("h.0", 1), longer = parts_of("h.0", 3);
  BOOST_TEST(serialise(parts_of("h.0", 3)) == serialise(longer));
  BOOST_TEST(serialise(once) != serialise(longer));
  for (const char* axis : {"rows", "columns"}) {
    const auto values = [&](const FactorizationParts& parts) { return parts.children.at("part1").tensors.at(axis).values<std::int32_t>(); };
    BOOST_TEST(values(once) == values(longer), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_part_that_makes_nothing_better_is_zeros) {
  const Tensor w = random_tensor({rows, cols}, RandomStream(6));
  const auto sum = [](bool is_first) {
    SumOptions options;
    options.parts.push_back({make_svd_decomposer({.truncation = 3, .keep = {}}), {}});
    options.parts.insert(is_first ? options.parts.begin() : options.parts.end(), SumPart{std::make_unique<Overshooting>(), {}});
    return make_sum_decomposer(std::move(options));
  };
  const auto alone = make_svd_decomposer({.truncation = 3, .keep = {}})->decompose("w", w.view(), {});
  const auto result = sum(false)->decompose("w", w.view(), {});
  BOOST_TEST(relative_difference(result.factorization->to_dense().view(), alone.factorization->to_dense().view()) == 0.0);
  BOOST_TEST(result.factorization->num_parameters() == sum(false)->size_of("w", rows, cols).num_parameters);
  BOOST_TEST(sum(true)->decompose("w", w.view(), {}).relative_error <= 1.0);
}

BOOST_AUTO_TEST_CASE(bad_weights_and_missing_moments_are_data_errors_and_a_zero_weight_is_not) {
  Tensor w = random_tensor({rows, cols}, RandomStream(7));
  auto statistics = both_moments(7);
  const Tensor zero(DType::f32, {rows, cols});
  for (const auto& parts : {plain_svd + ", " + plain_kronecker, svd + ", " + kronecker, kronecker + ", " + svd}) {
    const auto result = sum_of(parts, 3)->decompose("w", zero.view(), statistics);
    BOOST_TEST(result.relative_error == 0.0);
    BOOST_TEST(relative_difference(result.factorization->to_dense().view(), zero.view()) == 0.0);
  }
  const auto sum = sum_of(svd + ", " + kronecker, 1);
  BOOST_TEST(message_of([&] { sum->decompose("h.0", w.view(), {}); }) ==
             "layer `h.0`: 'sum' needs second moments of the layer's inputs: give calibration data");
  statistics.gradient_moments = {};
  BOOST_TEST(message_of([&] { sum->decompose("h.0", w.view(), statistics); }).find("'sum' needs second moments of the gradient") != std::string::npos);
  w.values<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  BOOST_CHECK_THROW(sum->decompose("h.0", w.view(), both_moments(7)), DataError);
  BOOST_CHECK_THROW(sum_of(plain_svd + ", " + plain_kronecker, 1)->decompose("h.0", w.view(), {}), DataError);
}

BOOST_AUTO_TEST_CASE(mistakes_of_a_configuration_are_errors_with_their_place) {
  const auto error = [](const std::string& toml) {
    BOOST_CHECK_THROW(kronlab::testing::configured(toml), ConfigError);
    return message_of([&] { kronlab::testing::configured(toml); });
  };
  const auto has = [](const std::string& message, const char* text) { return message.starts_with("f.toml:") && message.find(text) != std::string::npos; };
  const std::string two = "parts = [" + plain_svd + ", " + plain_kronecker + "]\n";
  BOOST_TEST(has(error("kind = \"sum\""), "0 part(s), expected two or more"));
  BOOST_TEST(has(error("kind = \"sum\"\nparts = [" + plain_svd + "]"), "1 part(s), expected two or more"));
  BOOST_TEST(has(error("kind = \"sum\"\nrounds = 0\n" + two), "rounds"));
  BOOST_TEST(has(error("kind = \"sum\"\nruonds = 2\n" + two), "unknown key 'ruonds'"));
  BOOST_TEST(has(error("kind = \"sum\"\nparts = [" + plain_svd + ", { kind = \"svd\", truncation = 2, refit = 3 }]"), "unknown key 'parts.1.refit'"));
  BOOST_TEST(has(error("kind = \"sum\"\nparts = [" + plain_svd + ", { kind = \"svdd\" }]"), "did you mean 'svd'"));
  BOOST_TEST(message_of([] {
               sum_of(R"({ kind = "svd", truncation = 2, permute = { kind = "norm-sort" } }, )" + plain_kronecker, 1)->size_of("h.0", rows, cols);
             }) == "`h.0`: 'svd' gains nothing from a permutation: leave out permute");
  BOOST_CHECK_THROW(sum_of(plain_svd + ", " + plain_kronecker, 1)->size_of("h.0", rows + 1, cols), ConfigError);
  BOOST_CHECK_THROW(make_sum_decomposer({}), ConfigError);
}

BOOST_AUTO_TEST_SUITE_END()
