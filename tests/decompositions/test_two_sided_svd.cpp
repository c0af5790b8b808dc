#include <mpi.h>

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "decompositions/decomposer.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"

namespace kronlab::decompositions {
namespace {

constexpr Index rows = 14, cols = 10;

/// A Gram matrix of few and uneven directions.
Matrix<double> moments(Index n, std::uint64_t seed) {
  const auto x = testing::random_matrix(40, n, RandomStream(seed));
  Matrix<double> g(n, n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      for (Index t = 0; t < 40; ++t) g(i, j) += x(t, i) * x(t, j) * std::exp(-0.3 * static_cast<double>(i + j)) / 40;
    }
  }
  return g;
}

LayerStatistics statistics() {
  LayerStatistics result;
  result.input_moments = moments(cols, 1), result.gradient_moments = moments(rows, 2), result.num_tokens = 40;
  return result;
}

WhitenedSvdOptions two_sided(Index truncation) {
  WhitenedSvdOptions options;
  options.size.truncation = truncation;
  options.weighting = Whitening::two_sided;
  options.damping = options.gradient_damping = 0.0;
  return options;
}

/// tr(S D C D^T), in plain loops.
double error_of(const Matrix<double>& s, const Matrix<double>& d, const Matrix<double>& c) {
  double sum = 0;
  for (Index i = 0; i < rows; ++i) {
    for (Index k = 0; k < rows; ++k) {
      for (Index j = 0; j < cols; ++j) {
        for (Index l = 0; l < cols; ++l) sum += s(i, k) * d(k, j) * c(j, l) * d(i, l);
      }
    }
  }
  return sum;
}

Matrix<double> difference(const Tensor& weight, const Decomposition& decomposition) {
  auto d = to_matrix<double>(weight.view());
  const auto w = to_matrix<double>(decomposition.factorization->to_dense().view());
  for (Index i = 0; i < d.size(); ++i) d.data()[i] -= w.data()[i];
  return d;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(two_sided_svd)

BOOST_AUTO_TEST_CASE(no_change_of_a_factor_makes_the_two_sided_error_smaller) {
  const Tensor weight = testing::random_tensor({rows, cols}, RandomStream(3));
  const auto known = statistics();
  const auto best = make_whitened_svd_decomposer(two_sided(4))->decompose("w", weight.view(), known);
  const double error = error_of(known.gradient_moments, difference(weight, best), known.input_moments);
  WhitenedSvdOptions by_inputs = two_sided(4);
  by_inputs.weighting = Whitening::inputs;
  const auto one_sided = make_whitened_svd_decomposer(by_inputs)->decompose("w", weight.view(), known);
  BOOST_TEST(error < error_of(known.gradient_moments, difference(weight, one_sided), known.input_moments));
  RandomStream random(4);
  for (int trial = 0; trial < 20; ++trial) {
    auto parts = best.factorization->parts();
    auto& factor = parts.tensors.at(trial % 2 == 0 ? "left" : "right");
    for (float& value : factor.values<float>()) value += static_cast<float>(1e-2 * random.normal());
    Decomposition moved;
    moved.factorization = make_factorization(std::move(parts));
    BOOST_TEST(error <= error_of(known.gradient_moments, difference(weight, moved), known.input_moments));
  }
}

BOOST_AUTO_TEST_CASE(the_error_is_the_rest_of_the_whitened_spectrum) {
  const Tensor weight = testing::random_tensor({rows, cols}, RandomStream(3));
  const auto known = statistics();
  const auto found = make_whitened_svd_decomposer(two_sided(4))->decompose("w", weight.view(), known);
  double rest = 0;
  for (std::size_t i = 4; i < found.spectrum.size(); ++i) rest += found.spectrum[i] * found.spectrum[i];
  const double error = error_of(known.gradient_moments, difference(weight, found), known.input_moments);
  BOOST_TEST(std::abs(error / rest - 1) < 1e-4);  // factors are float32: relative errors of eps |W|^2 / rest
}

BOOST_AUTO_TEST_CASE(a_gradient_without_direction_gives_the_one_sided_result) {
  const Tensor weight = testing::random_tensor({rows, cols}, RandomStream(3));
  auto known = statistics();
  known.gradient_moments = Matrix<double>(rows, rows);
  for (Index i = 0; i < rows; ++i) known.gradient_moments(i, i) = 7.0;
  auto by_inputs = two_sided(3);
  by_inputs.weighting = Whitening::inputs;
  const auto expected = make_whitened_svd_decomposer(by_inputs)->decompose("w", weight.view(), known).factorization->to_dense();
  const auto found = make_whitened_svd_decomposer(two_sided(3))->decompose("w", weight.view(), known).factorization->to_dense();
  BOOST_TEST(testing::relative_difference(found.view(), expected.view()) < 1e-5);
}

BOOST_AUTO_TEST_CASE(a_diagonal_is_the_matrix_with_that_diagonal) {
  const Tensor weight = testing::random_tensor({rows, cols}, RandomStream(3));
  auto full = statistics(), diagonal = statistics();
  diagonal.gradient_moments = Matrix<double>(1, rows);
  for (Index i = 0; i < rows; ++i) {
    diagonal.gradient_moments(0, i) = full.gradient_moments(i, i);
    for (Index j = 0; j < rows; ++j) full.gradient_moments(i, j) *= i == j;
  }
  auto options = two_sided(3);
  options.gradient_damping = 0.1;
  const auto expected = make_whitened_svd_decomposer(options)->decompose("w", weight.view(), full).factorization->to_dense();
  options.gradient_moments = GradientMoments::diagonal;
  for (const auto* known : {&full, &diagonal}) {
    const auto found = make_whitened_svd_decomposer(options)->decompose("w", weight.view(), *known).factorization->to_dense();
    BOOST_TEST(testing::relative_difference(found.view(), expected.view()) < 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(what_is_missing_or_does_not_fit_is_told) {
  const Tensor weight = testing::random_tensor({rows, cols}, RandomStream(3));
  const auto decomposer = make_whitened_svd_decomposer(two_sided(3));
  const auto message = [&](const LayerStatistics& known) { return testing::message_of([&] { decomposer->decompose("w", weight.view(), known); }); };
  auto known = statistics();
  known.gradient_moments = Matrix<double>();
  BOOST_TEST(message(known).find("needs second moments of the loss gradient") != std::string::npos);
  known.gradient_moments = Matrix<double>(1, rows);
  BOOST_TEST(message(known).find("found their diagonal") != std::string::npos);
  known.gradient_moments = Matrix<double>(rows, rows);  // zeros: not positive definite
  BOOST_TEST(message(known).find("layer `w`") != std::string::npos);
  auto negative = two_sided(3);
  negative.gradient_damping = -1;
  BOOST_CHECK_THROW(make_whitened_svd_decomposer(negative), ConfigError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace kronlab::decompositions
