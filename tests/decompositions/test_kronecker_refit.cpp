#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "decompositions/decomposer.hpp"
#include "decompositions/kronecker_refit.hpp"
#include "decompositions/scaled.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"
#include "tests/support/contains.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::kernels::KroneckerShape;
using kronlab::testing::contains;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();

/// Moments of 4 n samples: condition numbers of about 10.
Matrix<double> moments(Index n, RandomStream random) {
  const auto samples = random_matrix(4 * n, n, random);
  Matrix<double> result(n, n);
  linalg::gram(samples.view(), result);
  return result;
}

Matrix<double> dense(const KroneckerShape& s, const KroneckerFactors& f) {
  Matrix<double> w(s.left_rows * s.right_rows, s.left_cols * s.right_cols);
  for (Index k = 0; k < s.num_terms; ++k) {
    for (Index i = 0; i < w.rows(); ++i) {
      for (Index j = 0; j < w.cols(); ++j) {
        w(i, j) += f.left(i / s.right_rows, k * s.left_cols + j / s.right_cols) * f.right(k, i % s.right_rows * s.right_cols + j % s.right_cols);
      }
    }
  }
  return w;
}

/// tr(dW C dW^T) / tr(W C W^T), by its definition.
double error_of(const Matrix<double>& w, const Matrix<double>& approximation, const Matrix<double>& c) {
  double error = 0, energy = 0;
  for (Index row = 0; row < w.rows(); ++row) {
    for (Index i = 0; i < w.cols(); ++i) {
      for (Index j = 0; j < w.cols(); ++j) {
        error += (w(row, i) - approximation(row, i)) * c(i, j) * (w(row, j) - approximation(row, j));
        energy += w(row, i) * c(i, j) * w(row, j);
      }
    }
  }
  return error / energy;
}

KroneckerFactors random_factors(const KroneckerShape& s, RandomStream random) {
  return {random_matrix(s.left_rows, s.num_terms * s.left_cols, random.child(0)), random_matrix(s.num_terms, s.right_rows * s.right_cols, random.child(1))};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(kronecker_refit)

BOOST_AUTO_TEST_CASE(a_refit_never_loses_tells_its_true_error_and_ends_where_no_factor_can_be_better) {
  for (const KroneckerShape& s : {KroneckerShape{2, 3, 4, 2, 3}, {1, 6, 5, 1, 2}, {3, 4, 2, 3, 4}}) {
    const auto w = random_matrix(s.left_rows * s.right_rows, s.left_cols * s.right_cols, RandomStream(3));
    const auto c = moments(w.cols(), RandomStream(4));
    auto factors = random_factors(s, RandomStream(5));
    BOOST_TEST(refit(s, w, c, {}, 0, factors).size() == 1u);
    const auto errors = refit(s, w, c, {}, 3000, factors);
    BOOST_REQUIRE(errors.size() > 2u);
    for (std::size_t i = 1; i < errors.size(); ++i) BOOST_TEST(errors[i] < errors[i - 1]);
    const double error = error_of(w, dense(s, factors), c);
    BOOST_TEST(std::abs(errors.back() - error) < 100 * static_cast<double>(w.size()) * eps);
    // Quadratic in each factor's entry, so the central difference is the derivative; alternation ends with one that is
    // small beside the curvature.
    for (auto* part : {&factors.left, &factors.right}) {
      for (Index i = 0; i < part->size(); ++i) {
        const double kept = part->data()[i], h = 1e-3 * std::max(1.0, std::abs(kept));
        part->data()[i] = kept + h;
        const double above = error_of(w, dense(s, factors), c);
        part->data()[i] = kept - h;
        const double below = error_of(w, dense(s, factors), c);
        part->data()[i] = kept;
        const double slope = (above - below) / 2, curvature = above + below - 2 * error;
        BOOST_TEST(std::abs(slope) < 0.02 * curvature + 100 * static_cast<double>(w.size()) * eps);
      }
    }
  }
}

/// tr(S dW C dW^T) / tr(S W C W^T), by its definition.
double two_sided_error_of(const Matrix<double>& w, const Matrix<double>& approximation, const Matrix<double>& c, const Matrix<double>& s) {
  const auto weighted = [&](const auto& at) {
    double sum = 0;
    for (Index i = 0; i < w.rows(); ++i) {
      for (Index j = 0; j < w.rows(); ++j) {
        for (Index k = 0; k < w.cols(); ++k) {
          for (Index l = 0; l < w.cols(); ++l) sum += s(i, j) * at(j, k) * c(k, l) * at(i, l);
        }
      }
    }
    return sum;
  };
  return weighted([&](Index i, Index j) { return w(i, j) - approximation(i, j); }) / weighted([&](Index i, Index j) { return w(i, j); });
}

BOOST_AUTO_TEST_CASE(a_refit_with_moments_of_both_sides_never_loses_and_ends_where_no_factor_can_be_better) {
  for (const KroneckerShape& shape : {KroneckerShape{2, 3, 4, 2, 3}, {1, 6, 5, 1, 2}, {3, 4, 2, 3, 2}}) {
    const auto w = random_matrix(shape.left_rows * shape.right_rows, shape.left_cols * shape.right_cols, RandomStream(3));
    const auto c = moments(w.cols(), RandomStream(4)), s = moments(w.rows(), RandomStream(6));
    auto factors = random_factors(shape, RandomStream(5));
    refit(shape, w, c, {}, 20, factors);
    const double start = two_sided_error_of(w, dense(shape, factors), c, s);
    const auto errors = refit(shape, w, c, s, 3000, factors);
    BOOST_REQUIRE(errors.size() > 2u);
    BOOST_TEST(std::abs(errors.front() - start) < 100 * static_cast<double>(w.size()) * eps);
    for (std::size_t i = 1; i < errors.size(); ++i) BOOST_TEST(errors[i] < errors[i - 1]);
    const double error = two_sided_error_of(w, dense(shape, factors), c, s);
    BOOST_TEST(std::abs(errors.back() - error) < 100 * static_cast<double>(w.size()) * eps);
    for (auto* part : {&factors.left, &factors.right}) {
      for (Index i = 0; i < part->size(); ++i) {
        const double kept = part->data()[i], h = 1e-3 * std::max(1.0, std::abs(kept));
        part->data()[i] = kept + h;
        const double above = two_sided_error_of(w, dense(shape, factors), c, s);
        part->data()[i] = kept - h;
        const double below = two_sided_error_of(w, dense(shape, factors), c, s);
        part->data()[i] = kept;
        BOOST_TEST(std::abs(above - below) / 2 < 0.02 * (above + below - 2 * error) + 100 * static_cast<double>(w.size()) * eps);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(all_of_the_gradient_moments_lower_the_two_sided_error) {
  const Tensor w = random_tensor({12, 20}, RandomStream(1));
  LayerStatistics statistics;
  statistics.input_moments = moments(20, RandomStream(2));
  statistics.gradient_moments = moments(12, RandomStream(3));
  KroneckerOptions options{.num_terms = 2, .right_rows = 2, .right_cols = 4, .weighting = Weighting::two_sided, .refit = 20};
  const double diagonal = *make_kronecker_decomposer(options)->decompose("w", w.view(), statistics).two_sided_error;
  options.gradient_moments = GradientMoments::full;
  BOOST_TEST(*make_kronecker_decomposer(options)->decompose("w", w.view(), statistics).two_sided_error < diagonal);
  options.refit = 0;
  BOOST_CHECK_THROW(make_kronecker_decomposer(options), ConfigError);
}

BOOST_AUTO_TEST_CASE(a_refit_finds_a_sum_of_kronecker_products_that_is_there) {
  const KroneckerShape s{2, 6, 5, 2, 4};
  const auto w = dense(s, random_factors(s, RandomStream(1)));
  const auto c = moments(w.cols(), RandomStream(2));
  auto factors = random_factors(s, RandomStream(3));
  const auto errors = refit(s, w, c, {}, 500, factors);
  BOOST_TEST(errors.back() < 1e-12);  // the damping of 1e-10 is of the squared error's second order
  BOOST_TEST(relative_difference(dense(s, factors).view(), w.view()) < 1e-5);
}

BOOST_AUTO_TEST_CASE(without_moments_that_differ_the_closed_form_is_best_already) {
  const Tensor w = random_tensor({12, 20}, RandomStream(1));
  LayerStatistics statistics;
  statistics.input_moments = Matrix<double>(20, 20);
  for (Index i = 0; i < 20; ++i) statistics.input_moments(i, i) = 3;
  const auto plain = make_kronecker_decomposer({.num_terms = 2, .right_rows = 2, .right_cols = 4})->decompose("w", w.view(), statistics);
  const auto refitted = make_kronecker_decomposer({.num_terms = 2, .right_rows = 2, .right_cols = 4, .refit = 5})->decompose("w", w.view(), statistics);
  BOOST_TEST(std::abs(refitted.relative_error - plain.relative_error) < 1e-6);
}

BOOST_AUTO_TEST_CASE(a_sum_that_keeps_the_norm_is_the_other_times_a_number) {
  const Tensor w = random_tensor({12, 20}, RandomStream(1)), zero(DType::f32, {12, 20});
  LayerStatistics statistics;
  statistics.input_moments = moments(20, RandomStream(2));
  statistics.gradient_moments = moments(12, RandomStream(3));
  const auto norm = [](const Tensor& a) {
    double squares = 0;
    for (const float x : a.values<float>()) squares += static_cast<double>(x) * static_cast<double>(x);
    return std::sqrt(squares);
  };
  for (const auto weighting : {Weighting::none, Weighting::two_sided}) {
    KroneckerOptions options{.num_terms = 2, .right_rows = 2, .right_cols = 4, .weighting = weighting};
    const Tensor plain = make_kronecker_decomposer(options)->decompose("w", w.view(), statistics).factorization->to_dense();
    options.keeps_norm = true;
    const auto decomposer = make_kronecker_decomposer(options);
    const Tensor scaled = decomposer->decompose("w", w.view(), statistics).factorization->to_dense();
    BOOST_TEST(std::abs(norm(scaled) / norm(w) - 1) < 1e-6);
    const double factor = norm(w) / norm(plain);
    for (Index i = 0; i < plain.size(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      BOOST_TEST(std::abs(static_cast<double>(scaled.values<float>()[at]) - factor * static_cast<double>(plain.values<float>()[at])) < 1e-5);
    }
    BOOST_TEST(norm(decomposer->decompose("w", zero.view(), statistics).factorization->to_dense()) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(the_pruning_start_keeps_the_first_element_of_each_block) {
  const Tensor w = random_tensor({12, 20}, RandomStream(1));
  KroneckerOptions options{.right_rows = 2, .right_cols = 4, .start = KroneckerOptions::Start::pruning};
  const auto decomposer = make_kronecker_decomposer(options);
  const auto result = decomposer->decompose("w", w.view(), {});
  const Tensor found = result.factorization->to_dense();
  double difference = 0, squares = 0;
  for (Index i = 0; i < 12; ++i) {
    for (Index j = 0; j < 20; ++j) {
      const auto at = [&](const Tensor& a, Index row, Index col) { return static_cast<double>(a.values<float>()[static_cast<std::size_t>(row * 20 + col)]); };
      const double kept = at(w, i - i % 2, j - j % 4), expected = i % 2 == 0 && j % 4 == 0 ? kept : 0.1 * kept;
      BOOST_TEST(std::abs(at(found, i, j) - expected) < 1e-7);
      difference += std::pow(at(w, i, j) - expected, 2), squares += std::pow(at(w, i, j), 2);
    }
  }
  BOOST_TEST(std::abs(result.relative_error - std::sqrt(difference / squares)) < 1e-6);
  BOOST_TEST(result.spectrum.empty());
  BOOST_TEST(result.factorization->num_parameters() == decomposer->size_of("w", 12, 20).num_parameters);
  for (const auto& wrong : {KroneckerOptions{.num_terms = 2, .right_rows = 2, .right_cols = 4, .start = options.start},
                            KroneckerOptions{.right_rows = 2, .right_cols = 4, .weighting = Weighting::inputs, .start = options.start},
                            KroneckerOptions{.right_rows = 2, .right_cols = 4, .refit = 1, .start = options.start}}) {
    BOOST_CHECK_EXCEPTION(make_kronecker_decomposer(wrong), ConfigError,
                          [](const ConfigError& error) { return contains(error.what(), "start = \"pruning\" has one term"); });
  }
}

BOOST_AUTO_TEST_CASE(weighting_scales_rows_and_columns_and_a_refit_sees_all_of_the_moments) {
  const Index m = 12, n = 20;
  const Tensor w = random_tensor({m, n}, RandomStream(1));
  LayerStatistics statistics;
  statistics.input_moments = moments(n, RandomStream(2));
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) statistics.input_moments(i, j) *= static_cast<double>((1 + i) * (1 + j));
  }
  statistics.gradient_moments = Matrix<double>(1, m);
  for (Index i = 0; i < m; ++i) statistics.gradient_moments(0, i) = static_cast<double>((1 + i) * (1 + i));
  KroneckerOptions options{.num_terms = 3, .right_rows = 2, .right_cols = 4, .damping = 0, .gradient_damping = 0};
  const auto run = [&](Weighting weighting, Index rounds) {
    options.weighting = weighting, options.refit = rounds;
    const auto decomposer = make_kronecker_decomposer(options);
    auto result = decomposer->decompose("w", w.view(), statistics);
    BOOST_TEST(result.factorization->num_parameters() == decomposer->size_of("w", m, n).num_parameters);
    return result;
  };
  // The closed form is optimal for diagonal moments: its error is what the spectrum has left.
  const auto closed = run(Weighting::two_sided, 0);
  const auto dense_form = closed.factorization->to_dense();
  double error = 0, energy = 0;
  for (Index i = 0; i < m; ++i) {
    for (Index j = 0; j < n; ++j) {
      const double scale = statistics.gradient_moments(0, i) * statistics.input_moments(j, j);
      const auto value = static_cast<double>(w.matrix<float>()(i, j)), found = static_cast<double>(dense_form.matrix<float>()(i, j));
      error += scale * (value - found) * (value - found), energy += scale * value * value;
    }
  }
  double kept = 0, all = 0;
  for (std::size_t k = 0; k < closed.spectrum.size(); ++k) {
    all += closed.spectrum[k] * closed.spectrum[k];
    if (k < 3) kept += closed.spectrum[k] * closed.spectrum[k];
  }
  BOOST_TEST(std::abs(error / energy - (1 - kept / all)) < 1e-5);
  BOOST_TEST(std::abs(energy / all - 1) < 1e-5);
  // With all of C, one-sided as the refit sees it once rows are scaled.
  const auto refitted = run(Weighting::two_sided, 20);
  BOOST_TEST(*refitted.two_sided_error < *closed.two_sided_error);
  BOOST_TEST(refitted.convergence.num_iterations > 0);
  const auto by_inputs = run(Weighting::inputs, 20), plain = run(Weighting::none, 0), only_refit = run(Weighting::none, 20);
  BOOST_TEST(*by_inputs.weighted_error < *plain.weighted_error);
  BOOST_TEST(*only_refit.weighted_error < *plain.weighted_error);
}

BOOST_AUTO_TEST_CASE(moments_that_are_missing_or_singular_are_met) {
  const Tensor w = random_tensor({12, 20}, RandomStream(1));
  const KroneckerOptions options{.num_terms = 2, .right_rows = 2, .right_cols = 4, .weighting = Weighting::two_sided, .refit = 3};
  const auto decomposer = make_kronecker_decomposer(options);
  BOOST_CHECK_THROW(decomposer->decompose("w", w.view(), {}), DataError);
  LayerStatistics statistics;
  statistics.input_moments = Matrix<double>(20, 20);
  BOOST_CHECK_THROW(decomposer->decompose("w", w.view(), statistics), DataError);  // no gradients
  statistics.gradient_moments = Matrix<double>(1, 12);
  statistics.input_moments(0, 0) = 1;  // of rank one
  statistics.gradient_moments(0, 3) = 1;
  const auto result = decomposer->decompose("w", w.view(), statistics);
  BOOST_TEST(std::isfinite(result.relative_error));
  BOOST_CHECK_THROW(make_kronecker_decomposer({.num_terms = 1, .right_rows = 2, .right_cols = 2, .refit = -1}), ConfigError);
  BOOST_CHECK_THROW(Scaled(std::make_unique<Dense>(w.clone()), Tensor(DType::f32, {3}), Tensor()), DataError);
  Tensor bad(DType::f32, {20});
  bad.values<float>()[4] = std::numeric_limits<float>::quiet_NaN();
  BOOST_CHECK_THROW(Scaled(std::make_unique<Dense>(w.clone()), Tensor(), std::move(bad)), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
