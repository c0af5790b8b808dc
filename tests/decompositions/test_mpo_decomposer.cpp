#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "decompositions/mpo.hpp"
#include "decompositions/mpo_decomposer.hpp"
#include "decompositions/registry.hpp"
#include "decompositions/permutation/permutation_search.hpp"
#include "decompositions/site_factors.hpp"
#include "decompositions/site_whitening.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/decompositions/configured.hpp"
#include "tests/decompositions/examples.hpp"
#include "tests/support/kernel_case.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::bound;
using kronlab::testing::message_of;
using kronlab::testing::random_matrix;
using kronlab::testing::random_mpo;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

constexpr double float_eps = std::numeric_limits<float>::epsilon();

std::unique_ptr<Decomposer> mpo(const std::string& keys) {
  return kronlab::testing::configured("kind = \"mpo\"\n" + keys);
}

/// Moments of 2 n samples of mixed variables, so that they are far from diagonal.
Matrix<double> moments(Index n, RandomStream random) {
  const auto mixing = random_matrix(n, n, random.child(0)), plain = random_matrix(2 * n, n, random.child(1));
  Matrix<double> samples(2 * n, n), result(n, n);
  linalg::gemm(linalg::Transpose::no, plain.view(), linalg::Transpose::no, mixing.view(), 0.0, samples.view());
  linalg::gram(std::as_const(samples).view(), result);
  return result;
}

Matrix<double> kronecker_product(const Matrix<double>& a, const Matrix<double>& b) {
  Matrix<double> result(a.rows() * b.rows(), a.cols() * b.cols());
  for (Index i = 0; i < result.rows(); ++i) {
    for (Index j = 0; j < result.cols(); ++j) result(i, j) = a(i / b.rows(), j / b.cols()) * b(i % b.rows(), j % b.cols());
  }
  return result;
}

double sum_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

}  // namespace

BOOST_AUTO_TEST_SUITE(mpo_decomposer)

BOOST_AUTO_TEST_CASE(full_bonds_are_exact_and_the_error_falls_with_the_bond_dimension) {
  const Tensor w = random_tensor({24, 30}, RandomStream(1));
  for (const char* factors : {"row_factors = [2, 3, 4]\ncol_factors = [5, 3, 2]\n", "row_factors = [4, 6]\ncol_factors = [6, 5]\n",
                              "row_factors = [2, 2, 2, 3]\ncol_factors = [5, 1, 3, 2]\n", "row_factors = [1, 24]\ncol_factors = [30, 1]\n"}) {
    double previous = 2;
    for (Index bond = 1; bond < 100; ++bond) {
      std::unique_ptr<Decomposer> decomposer = mpo(factors + fmt::format("bond_dimension = {}", bond));
      try {
        decomposer->size_of("w", 24, 30);
      } catch (const ConfigError&) {
        break;  // beyond the full bond dimension
      }
      const auto result = decomposer->decompose("w", w.view(), {});
      // The parts that are cut off are orthogonal to each other and to what is kept.
      BOOST_TEST(std::abs(result.relative_error - std::sqrt(sum_of(result.discarded_weights))) < 10 * float_eps);
      BOOST_TEST(result.relative_error <= previous);
      BOOST_TEST(result.factorization->num_parameters() == decomposer->size_of("w", 24, 30).num_parameters);
      BOOST_TEST(result.factorization->stored_bytes() == decomposer->size_of("w", 24, 30).stored_bytes);
      BOOST_TEST(decomposer->cost(24, 30) > 0);
      previous = result.relative_error;
    }
    BOOST_TEST(previous < 30 * float_eps);
  }
}

BOOST_AUTO_TEST_CASE(an_operator_of_that_bond_dimension_is_found_again) {
  const auto planted = random_mpo({{1, 3, 4, 3}, {3, 2, 5, 4}, {4, 3, 2, 2}, {2, 2, 3, 1}}, 0, RandomStream(2));
  const Tensor w = planted->to_dense();
  const auto result = mpo("row_factors = [3, 2, 3, 2]\ncol_factors = [4, 5, 2, 3]\nbond_dimension = 4")->decompose("w", w.view(), {});
  BOOST_TEST(result.relative_error < 30 * float_eps);
  BOOST_TEST(mpo("row_factors = [3, 2, 3, 2]\ncol_factors = [4, 5, 2, 3]\nbond_dimension = 2")->decompose("w", w.view(), {}).relative_error > 0.1);
}

BOOST_AUTO_TEST_CASE(two_sites_are_the_nearest_sum_of_kronecker_products_and_the_same_weights_give_it) {
  const Tensor w = random_tensor({12, 20}, RandomStream(3));
  LayerStatistics statistics;
  statistics.input_moments = moments(20, RandomStream(4));
  statistics.gradient_moments = moments(12, RandomStream(5));
  for (const auto& [name, weighting] : {std::pair{"none", Weighting::none}, {"inputs", Weighting::inputs}, {"two-sided", Weighting::two_sided}}) {
    const auto found = mpo(fmt::format("row_factors = [3, 4]\ncol_factors = [5, 4]\nbond_dimension = 3\nweighting = \"{}\"", name))->decompose("w", w.view(), statistics);
    const auto expected = make_kronecker_decomposer({3, 5, 3, 0, 0, weighting})->decompose("w", w.view(), statistics);
    BOOST_TEST(relative_difference(found.factorization->to_dense().view(), expected.factorization->to_dense().view()) < 30 * float_eps);
    BOOST_TEST(found.factorization->num_parameters() == expected.factorization->num_parameters());
  }
}

BOOST_AUTO_TEST_CASE(the_target_size_is_the_most_that_fits) {
  const Tensor w = random_tensor({24, 48}, RandomStream(6));
  for (const double keep : {0.1, 0.2, 0.5, 1.0, 2.0}) {
    for (const char* weighting : {"none", "inputs"}) {
      const std::string rest = fmt::format("\nnum_sites = 3\nweighting = \"{}\"", weighting);
      const auto decomposer = mpo(fmt::format("keep = {:.2f}", keep) + rest);
      const Index found = decomposer->size_of("w", 24, 48).num_parameters;
      BOOST_TEST(static_cast<double>(found) <= keep * 24 * 48);
      Index larger = 0, beyond = 0;
      for (Index bond = 1; bond <= 24; ++bond) {
        try {
          const Index size = mpo(fmt::format("bond_dimension = {}", bond) + rest)->size_of("w", 24, 48).num_parameters;
          (static_cast<double>(size) <= keep * 24 * 48 ? larger : beyond) = size;
        } catch (const ConfigError&) {
          break;
        }
      }
      BOOST_TEST(found == larger);
    }
  }
  BOOST_TEST(message_of([] { mpo("keep = 0.01")->size_of("h.0", 24, 48); }) ==
             "mpo: keep is 0.01 for `h.0` (24 x 48), but sites (2 x 3 x 4) by (4 x 4 x 3) need at least 0.0278, with a bond dimension of 1");
}

BOOST_AUTO_TEST_CASE(a_truncation_error_is_kept_with_the_least_bonds_and_bounds_the_size) {
  const Tensor w = random_tensor({24, 30}, RandomStream(18));
  const std::string factors = "row_factors = [2, 3, 4]\ncol_factors = [5, 3, 2]\n";
  Index previous = 0;
  for (const double error : {0.9, 0.5, 0.2, 0.05}) {
    const auto decomposer = mpo(factors + fmt::format("truncation_error = {}", error));
    const auto result = decomposer->decompose("w", w.view(), {});
    BOOST_TEST(result.relative_error <= error);
    for (const double discarded : result.discarded_weights) BOOST_TEST(discarded <= error * error / 2);
    const auto bound = decomposer->size_of("w", 24, 30);
    const Index found = result.factorization->num_parameters();
    BOOST_TEST(bound.is_bound);
    BOOST_TEST(found <= bound.num_parameters);
    BOOST_TEST(found >= previous);
    previous = found;
    // One less on any bond would discard too much.
    const auto& shapes = dynamic_cast<const Mpo&>(*result.factorization).shapes();
    const auto smaller = mpo(factors + fmt::format("bond_dimension = {}\ntruncation_error = {}", std::max<Index>(1, shapes[1].left - 1), error));
    if (shapes[1].left > 1) BOOST_TEST(smaller->decompose("w", w.view(), {}).discarded_weights[0] > error * error / 2);
  }
  BOOST_TEST(!mpo(factors + "keep = 0.5")->size_of("w", 24, 30).is_bound);
  // Another limit counts first.
  const auto limited = mpo(factors + "keep = 0.3\ntruncation_error = 0.01");
  const Index bound = limited->size_of("w", 24, 30).num_parameters;
  BOOST_TEST(bound == mpo(factors + "keep = 0.3")->size_of("w", 24, 30).num_parameters);
  BOOST_TEST(limited->decompose("w", w.view(), {}).factorization->num_parameters() <= bound);
}

BOOST_AUTO_TEST_CASE(factors_are_as_equal_as_they_can_be) {
  const auto factors = [](Index extent, Index num) { return product_text(balanced_factors(extent, num).value_or(std::vector<Index>{})); };
  BOOST_TEST(factors(216, 3) == "6 x 6 x 6");
  BOOST_TEST(factors(768, 3) == "8 x 8 x 12");
  BOOST_TEST(factors(2304, 3) == "12 x 12 x 16");
  BOOST_TEST(factors(1536, 2) == "32 x 48");
  BOOST_TEST(factors(49152, 4) == "12 x 16 x 16 x 16");
  BOOST_TEST(factors(16384, 14) == "2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2 x 2");
  BOOST_TEST(factors(7, 1) == "7");
  BOOST_TEST(product_text(padded_factors(50257, 3, 1.5)) == "27 x 38 x 49");
  BOOST_TEST(product_text(padded_factors(49152, 3, 1.5)) == "32 x 32 x 48");
  BOOST_TEST(product_text(padded_factors(1, 3, 1.5)) == "2 x 2 x 2");
  BOOST_TEST(factors(50257, 3) == "");  // 29 x 1733
  BOOST_TEST(factors(50257, 2) == "");
  BOOST_TEST(factors(7, 3) == "");
  BOOST_TEST(factors(1, 2) == "");
  for (Index extent = 2; extent < 300; ++extent) {  // by trying all
    Index least = std::numeric_limits<Index>::max(), largest = 0;
    for (Index a = 2; a * a <= extent; ++a) {
      if (extent % a == 0 && a + extent / a < least) least = a + extent / a, largest = extent / a;
    }
    const auto found = balanced_factors(extent, 2);
    const bool has_some = largest > 0 && static_cast<double>(largest) <= 4 * std::sqrt(static_cast<double>(extent));
    BOOST_TEST(found.has_value() == has_some);
    if (found) BOOST_TEST(((*found)[0] * (*found)[1] == extent && (*found)[0] + (*found)[1] == least));
  }
}

BOOST_AUTO_TEST_CASE(shapes_and_bonds_that_do_not_suit_are_named_with_what_would) {
  const auto size_error = [](const std::string& keys, Index rows, Index cols) { return message_of([&] { mpo(keys)->size_of("h.0", rows, cols); }); };
  BOOST_TEST(size_error("bond_dimension = 2", 50257, 768) ==
             "mpo: rows of `h.0` (50257) are no product of 3 factors of about the same size; 50255 and 50264 can be; or give the factors, which may be 1");
  BOOST_TEST(size_error("bond_dimension = 2\nnum_sites = 2", 12, 3) ==
             "mpo: columns of `h.0` (3) are no product of 2 factors of about the same size; 4 can be; or give the factors, which may be 1");
  BOOST_TEST(size_error("row_factors = [3, 5]\nbond_dimension = 2", 12, 20) == "mpo: rows of `h.0` are 12, the factors 3 x 5 make more");
  BOOST_TEST(size_error("row_factors = [3, 2]\nbond_dimension = 2", 12, 20) == "mpo: rows of `h.0` are 12, the factors 3 x 2 make 6");
  BOOST_TEST(size_error("row_factors = [3, 4]\ncol_factors = [5, 4]\nbond_dimension = 17", 12, 20) ==
             "mpo: bond_dimension 17 for `h.0` (12 x 20), but bonds of sites (3 x 4) by (5 x 4) have full dimensions 15: at most 15");
  const auto error = [](const std::string& keys) { return message_of([&] { mpo(keys); }).substr(std::string("f.toml:1:1: kind: ").size()); };
  BOOST_TEST(error("") == "mpo: give bond_dimension, keep or truncation_error");
  BOOST_TEST(error("truncation_error = 1.0") == "mpo: truncation_error is 1, expected a relative error between 0 and 1");
  BOOST_TEST(error("truncation_error = 0.0") == "mpo: truncation_error is 0, expected a relative error between 0 and 1");
  BOOST_TEST(error("bond_dimension = 2\nkeep = 0.5") == "mpo: give either bond_dimension or keep");
  BOOST_TEST(error("keep = 0") == "mpo: keep is 0, expected a share of the parameters above 0");
  BOOST_TEST(error("keep = 0.5\nrow_factors = [3, 4]\ncol_factors = [3, 4, 5]") == "mpo: col_factors has 3 factors, expected 2: one for each site, of rows and of columns");
  BOOST_TEST(error("keep = 0.5\nnum_sites = 3\nrow_factors = [3, 4]") == "mpo: row_factors has 2 factors, expected 3: one for each site, of rows and of columns");
  BOOST_TEST(error("keep = 0.5\nrow_factors = [12]") == "mpo: 1 site(s), expected two or more");
  BOOST_TEST(error("keep = 0.5\nrow_factors = [3, 0]") == "mpo: row_factors has 0, expected 1 to 2147483647");
  BOOST_CHECK_THROW(make_mpo_decomposer({.row_factors = {}, .col_factors = {}, .num_sites = {}, .bond_dimension = 2, .keep = {}, .damping = -1}), ConfigError);
}

BOOST_AUTO_TEST_CASE(separable_whitening_is_exact_where_moments_are_a_product_and_costs_nothing) {
  const Tensor w = random_tensor({12, 20}, RandomStream(7));
  LayerStatistics statistics;
  statistics.input_moments = kronecker_product(moments(5, RandomStream(8)), moments(4, RandomStream(9)));
  statistics.gradient_moments = kronecker_product(moments(3, RandomStream(10)), moments(4, RandomStream(11)));
  const auto decompose = [&](const char* weighting, const char* whitening) {
    return mpo(fmt::format("row_factors = [3, 4]\ncol_factors = [5, 4]\nbond_dimension = 3\ndamping = 0\ngradient_damping = 0\nweighting = \"{}\"\nwhitening = \"{}\"", weighting, whitening))
        ->decompose("w", w.view(), statistics);
  };
  const auto inputs = decompose("inputs", "separable"), both = decompose("two-sided", "separable");
  BOOST_TEST(inputs.factorization->num_parameters() == decompose("none", "diagonal").factorization->num_parameters());
  BOOST_TEST(*inputs.weighted_error < *decompose("inputs", "diagonal").weighted_error);
  BOOST_TEST(*both.two_sided_error < *decompose("two-sided", "diagonal").two_sided_error);
  BOOST_TEST(*both.two_sided_error < *inputs.two_sided_error);
  // Two sites: the best of all, so alternating least squares in the norm of all moments comes down to it and not below.
  const auto refitted = make_kronecker_decomposer({3, 5, 3, 0, 0, Weighting::none, 300, 0.0})->decompose("w", w.view(), statistics);
  BOOST_TEST(std::abs(*inputs.weighted_error / *refitted.weighted_error - 1) < 1e-4);
  BOOST_TEST(*inputs.weighted_error < *refitted.weighted_error * (1 + 10 * float_eps));
  // What was cut off is the error in that norm.
  BOOST_TEST(std::abs(*inputs.weighted_error - std::sqrt(sum_of(inputs.discarded_weights))) < 100 * float_eps);
  BOOST_TEST(std::abs(*both.two_sided_error - std::sqrt(sum_of(both.discarded_weights))) < 100 * float_eps);
}

BOOST_AUTO_TEST_CASE(a_permutation_search_sees_the_last_site) {
  const auto problem = [](const std::string& keys, Index rows, Index cols) { return *mpo(keys)->grouping_problem("w", rows, cols); };
  BOOST_TEST((problem("row_factors = [6, 2]\ncol_factors = [5, 4]\nbond_dimension = 2", 12, 20) == GroupingProblem{2, 4, 2}));
  BOOST_TEST((problem("row_factors = [6, 2]\ncol_factors = [5, 4]\nbond_dimension = 7", 12, 20) == GroupingProblem{2, 4, 4}));
  BOOST_TEST((problem("keep = 0.3", 1536, 576) == GroupingProblem{8, 4, 16}));  // within 16 x 8
  BOOST_TEST((problem("row_factors = [12, 1]\ncol_factors = [1, 20]\nbond_dimension = 2", 12, 20) == GroupingProblem{1, 4, 2}));
  // A shuffled operator is found again.
  auto shuffled = std::make_unique<Permuted>(random_mpo({{1, 12, 6, 1}, {1, 2, 2, 1}}, 0, RandomStream(15)), RandomStream(16).permutation(24), RandomStream(17).permutation(12));
  const Tensor w = shuffled->to_dense();
  const auto decomposer = mpo("row_factors = [12, 2]\ncol_factors = [6, 2]\nbond_dimension = 1");
  const auto found = make_portfolio_search({.num_starts = 8})->search("w", w.view(), *decomposer->grouping_problem("w", 24, 12), RandomStream(1));
  BOOST_TEST(decomposer->decompose("w", w.view(), {}).relative_error > 0.3);
  BOOST_TEST(decompose_permuted(*decomposer, found, "w", w.view(), {}).relative_error < 30 * float_eps);
}

BOOST_AUTO_TEST_CASE(roots_over_sites_are_those_of_a_product_of_moments) {
  const auto a = moments(3, RandomStream(12)), b = moments(2, RandomStream(13)), c = moments(4, RandomStream(14));
  const auto whole = kronecker_product(kronecker_product(a, b), c);
  const SiteRoots roots(whole, {3, 2, 4}, 0.0, "w");
  auto unit = Matrix<double>(24, 24);
  for (Index i = 0; i < 24; ++i) unit(i, i) = 1;
  roots.apply_right(unit);
  Matrix<double> again(24, 24);
  linalg::gemm(linalg::Transpose::no, std::as_const(unit).view(), linalg::Transpose::yes, std::as_const(unit).view(), 0.0, again.view());
  BOOST_TEST(relative_difference(again.view(), whole.view()) < 1e-12);
  Index outer = 24, run = 24;
  for (std::size_t k = 0; k < 3; ++k) {
    const Index factor = k == 0 ? 3 : k == 1 ? 2 : 4;
    run /= factor;
    roots.solve(k, outer, run, unit);
    outer *= factor;
  }
  for (Index i = 0; i < 24; ++i) unit(i, i) -= 1;
  BOOST_TEST(testing::relative_difference(unit.view(), Matrix<double>(24, 24).view()) < 1e-11);
  Matrix<double> diagonal(1, 24);
  for (Index i = 0; i < 24; ++i) diagonal(0, i) = 1 + static_cast<double>(i / 8);
  Matrix<double> ones(1, 24);
  std::fill_n(ones.data(), 24, 1.0);
  SiteRoots(diagonal, {3, 2, 4}, 0.0, "w").apply_right(ones);
  for (Index i = 0; i < 24; ++i) BOOST_TEST(std::abs(ones(0, i) * ones(0, i) - diagonal(0, i)) < 1e-12);
  BOOST_TEST(message_of([] { SiteRoots(Matrix<double>(4, 4), {2, 2}, 0.1, "layer `h.0`, its inputs"); }).starts_with("layer `h.0`, its inputs: second moments of 2 values are not positive definite"));
}

BOOST_AUTO_TEST_CASE(a_zero_weight_and_one_of_low_rank_are_no_trouble) {
  for (const char* whitening : {"diagonal", "separable"}) {
    LayerStatistics statistics;
    statistics.input_moments = moments(20, RandomStream(4));
    const auto decomposer = mpo(fmt::format("row_factors = [3, 4]\ncol_factors = [5, 4]\nbond_dimension = 3\nweighting = \"inputs\"\nwhitening = \"{}\"", whitening));
    const Tensor zero(DType::f32, {12, 20});
    BOOST_TEST(decomposer->decompose("w", zero.view(), statistics).relative_error == 0.0);
    Tensor single(DType::f32, {12, 20});
    single.values<float>()[77] = 3;
    BOOST_TEST(decomposer->decompose("w", single.view(), statistics).relative_error < 100 * float_eps);
  }
}

BOOST_AUTO_TEST_SUITE_END()
