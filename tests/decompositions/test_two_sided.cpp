#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "decompositions/registry.hpp"
#include "framework/config/value.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/reference.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::message_of;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

using Doubles = Matrix<double>;

constexpr double float_eps = std::numeric_limits<float>::epsilon();

/// Moments of 4 n samples whose variables have sizes from 1 to 3: condition numbers of some 50, of their roots 7.
Doubles moments(Index n, RandomStream random) {
  auto samples = random_matrix(4 * n, n, random);
  for (Index i = 0; i < samples.rows(); ++i) {
    for (Index j = 0; j < n; ++j) samples(i, j) *= 1 + 2 * static_cast<double>(j) / static_cast<double>(n);
  }
  Doubles result(n, n);
  linalg::gram(samples.view(), result);
  return result;
}

LayerStatistics both_moments(Index rows, Index cols, std::uint64_t seed) {
  LayerStatistics statistics;
  statistics.input_moments = moments(cols, RandomStream(seed).child(0));
  statistics.gradient_moments = moments(rows, RandomStream(seed).child(1));
  return statistics;
}

Doubles diagonal_of(const Doubles& square) {
  Doubles diagonal(1, square.rows());
  for (Index i = 0; i < square.rows(); ++i) diagonal(0, i) = square(i, i);
  return diagonal;
}

Doubles identity(Index n) {
  Doubles one(n, n);
  for (Index i = 0; i < n; ++i) one(i, i) = 1;
  return one;
}

Doubles transposed(const Doubles& a) {
  Doubles t(a.cols(), a.rows());
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.cols(); ++j) t(j, i) = a(i, j);
  }
  return t;
}

Doubles product(const Doubles& a, const Doubles& b) { return testing::reference::product(a, transposed(b)); }

/// One-sided Jacobi: columns of A turned in pairs until all are orthogonal. A: [m, n] -> A V, V (Hestenes, 1958).
std::pair<Doubles, Doubles> orthogonal_columns(Doubles a) {
  auto v = identity(a.cols());
  for (int sweep = 0; sweep < 60; ++sweep) {
    for (Index p = 0; p < a.cols(); ++p) {
      for (Index q = p + 1; q < a.cols(); ++q) {
        double pp = 0, qq = 0, pq = 0;
        for (Index i = 0; i < a.rows(); ++i) pp += a(i, p) * a(i, p), qq += a(i, q) * a(i, q), pq += a(i, p) * a(i, q);
        const double angle = 0.5 * std::atan2(2 * pq, pp - qq), c = std::cos(angle), s = std::sin(angle);
        for (auto* matrix : {&a, &v}) {
          for (Index i = 0; i < matrix->rows(); ++i) {
            const double x = (*matrix)(i, p), y = (*matrix)(i, q);
            (*matrix)(i, p) = c * x + s * y, (*matrix)(i, q) = c * y - s * x;
          }
        }
      }
    }
  }
  return {a, v};
}

/// M^power for a symmetric positive definite M.
Doubles power_of(const Doubles& m, double power) {
  const auto [scaled, v] = orthogonal_columns(m);
  Doubles weighted = v;
  for (Index j = 0; j < m.cols(); ++j) {
    double squared = 0;
    for (Index i = 0; i < m.rows(); ++i) squared += scaled(i, j) * scaled(i, j);
    for (Index i = 0; i < m.rows(); ++i) weighted(i, j) *= std::pow(squared, power / 2);
  }
  return product(weighted, transposed(v));
}

Doubles damped(Doubles m, double damping) {
  double mean = 0;
  for (Index i = 0; i < m.rows(); ++i) mean += m(i, i) / static_cast<double>(m.rows());
  for (Index i = 0; i < m.rows(); ++i) m(i, i) += damping * mean;
  return m;
}

/// The nearest matrix of rank k: A V_k V_k^T.
Doubles truncated(const Doubles& a, Index k) {
  const auto [turned, v] = orthogonal_columns(a);
  std::vector<std::pair<double, Index>> sizes;
  for (Index j = 0; j < a.cols(); ++j) {
    double squared = 0;
    for (Index i = 0; i < a.rows(); ++i) squared += turned(i, j) * turned(i, j);
    sizes.emplace_back(-squared, j);
  }
  std::ranges::sort(sizes);
  Doubles result(a.rows(), a.cols());
  for (Index t = 0; t < k; ++t) {
    const Index j = sizes[static_cast<std::size_t>(t)].second;
    for (Index i = 0; i < a.rows(); ++i) {
      for (Index l = 0; l < a.cols(); ++l) result(i, l) += turned(i, j) * v(l, j);
    }
  }
  return result;
}

/// By symmetric roots, in place of triangular ones: S^-1/2 [S^1/2 W C^1/2]_k C^-1/2.
Doubles slow_two_sided(const Doubles& w, const Doubles& s, const Doubles& c, Index k) {
  const auto whitened = product(product(power_of(s, 0.5), w), power_of(c, 0.5));
  return product(product(power_of(s, -0.5), truncated(whitened, k)), power_of(c, -0.5));
}

/// tr(S D C D^T)
double slow_error(const Doubles& d, const Doubles& s, const Doubles& c) {
  const auto m = product(product(product(s, d), c), transposed(d));
  double trace = 0;
  for (Index i = 0; i < m.rows(); ++i) trace += m(i, i);
  return trace;
}

WhitenedSvdOptions two_sided(Index truncation, double damping, double gradient_damping,
                             GradientMoments kind = GradientMoments::full) {
  return {{.truncation = truncation, .keep = {}}, damping, Weighting::two_sided, gradient_damping, kind};
}

Decomposition decomposed(const WhitenedSvdOptions& options, const Tensor& w, const LayerStatistics& statistics) {
  return make_whitened_svd_decomposer(options)->decompose("h.0", w.view(), statistics);
}

double difference(const Decomposition& a, const Decomposition& b) {
  return relative_difference(a.factorization->to_dense().view(), b.factorization->to_dense().view());
}

/// Factors are rounded to floats and multiplied: products of at most 16 terms, larger than their sum by no more than
/// the condition of both roots together.
constexpr double tolerance = 50 * 16 * float_eps / 8;

}  // namespace

BOOST_AUTO_TEST_SUITE(two_sided_svd)

BOOST_AUTO_TEST_CASE(factors_and_errors_are_those_of_a_slow_reference) {
  for (const auto& [m, n] : {std::pair<Index, Index>{10, 16}, {16, 10}, {7, 7}}) {
    const Tensor w = random_tensor({m, n}, RandomStream(6));
    const auto wide = to_matrix<double>(w.view());
    const auto statistics = both_moments(m, n, 8);
    const auto& c = statistics.input_moments;
    const auto& s = statistics.gradient_moments;
    for (const auto& [damping, gradient_damping] : {std::pair{0.0, 0.0}, {0.01, 0.1}}) {
      const auto found = decomposed(two_sided(4, damping, gradient_damping), w, statistics);
      const auto expected = slow_two_sided(wide, damped(s, gradient_damping), damped(c, damping), 4);
      BOOST_TEST(relative_difference(found.factorization->to_dense().view(), expected.view()) < tolerance);
      Doubles d = wide;
      for (Index i = 0; i < d.size(); ++i) d.data()[i] -= expected.data()[i];
      BOOST_TEST(std::abs(*found.two_sided_error - std::sqrt(slow_error(d, s, c) / slow_error(wide, s, c))) < tolerance);
      BOOST_TEST(std::abs(*found.weighted_error - std::sqrt(slow_error(d, identity(m), c) / slow_error(wide, identity(m), c))) <
                 tolerance);

      const auto by_diagonal = decomposed(two_sided(4, damping, gradient_damping, GradientMoments::diagonal), w, statistics);
      Doubles only(m, m);
      for (Index i = 0; i < m; ++i) only(i, i) = s(i, i);
      BOOST_TEST(relative_difference(by_diagonal.factorization->to_dense().view(),
                                     slow_two_sided(wide, damped(only, gradient_damping), damped(c, damping), 4).view()) < tolerance);
    }
  }
}

BOOST_AUTO_TEST_CASE(no_other_weighting_has_a_smaller_two_sided_error_and_full_truncation_has_none) {
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    const Tensor w = random_tensor({12, 20}, RandomStream(seed));
    const auto statistics = both_moments(12, 20, seed);
    const SvdOptions size{.truncation = 3, .keep = {}};
    const auto best = decomposed(two_sided(3, 0.0, 0.0), w, statistics);
    const auto by_diagonal = decomposed(two_sided(3, 0.0, 0.0, GradientMoments::diagonal), w, statistics);
    const auto inputs = decomposed({size, 0.0}, w, statistics);
    const auto plain = make_svd_decomposer(size)->decompose("h.0", w.view(), statistics);
    for (const auto* other : {&by_diagonal, &inputs, &plain}) BOOST_TEST(*best.two_sided_error < *other->two_sided_error);
    BOOST_TEST(*inputs.weighted_error < *best.weighted_error);
    BOOST_TEST(decomposed(two_sided(12, 0.0, 0.0), w, statistics).relative_error < tolerance);
  }
}

BOOST_AUTO_TEST_CASE(equal_gradients_of_any_size_change_nothing) {
  const Tensor w = random_tensor({10, 16}, RandomStream(6));
  auto statistics = both_moments(10, 16, 8);
  for (const double size : {1.0, 1e-14, 1e9}) {
    auto& s = statistics.gradient_moments = identity(10);
    for (Index i = 0; i < s.size(); ++i) s.data()[i] *= size;
    const auto one_sided = decomposed({{.truncation = 4, .keep = {}}, 1e-3}, w, statistics);
    const auto found = decomposed(two_sided(4, 1e-3, 0.1), w, statistics);
    BOOST_TEST(difference(found, one_sided) < tolerance);
    BOOST_TEST(std::abs(*found.two_sided_error - *found.weighted_error) < tolerance);
    // Factors of one size: S has no say in how large they are.
    const auto parts = found.factorization->parts();
    for (Index k = 0; k < 4; ++k) {
      double left = 0, right = 0;
      for (Index i = 0; i < 10; ++i) left += std::pow(parts.tensors.at("left").matrix<float>()(i, k), 2);
      for (Index j = 0; j < 16; ++j) right += std::pow(parts.tensors.at("right").matrix<float>()(k, j), 2);
      BOOST_TEST(std::abs(left / right - 1) < 16 * float_eps);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_diagonal_is_the_full_matrix_with_zeros_beside_it) {
  const Tensor w = random_tensor({10, 16}, RandomStream(6));
  auto full = both_moments(10, 16, 8), diagonal = full;
  diagonal.gradient_moments = diagonal_of(full.gradient_moments);
  for (Index i = 0; i < 10; ++i) {
    for (Index j = 0; j < 10; ++j) full.gradient_moments(i, j) *= i == j;
  }
  const auto by_full = decomposed(two_sided(4, 1e-3, 0.1), w, full);
  const auto by_diagonal = decomposed(two_sided(4, 1e-3, 0.1, GradientMoments::diagonal), w, diagonal);
  BOOST_TEST(difference(by_diagonal, by_full) < tolerance);
  BOOST_TEST(std::abs(*by_diagonal.two_sided_error - *by_full.two_sided_error) < tolerance);
  const auto again = decomposed(two_sided(4, 1e-3, 0.1, GradientMoments::diagonal), w, full);
  BOOST_TEST(difference(again, by_diagonal) == 0.0);
}

BOOST_AUTO_TEST_CASE(missing_misshapen_and_broken_moments_are_data_errors_that_name_the_layer) {
  const Tensor w = random_tensor({8, 6}, RandomStream(6));
  const auto good = both_moments(8, 6, 3);
  const auto message = [&](Matrix<double> c, Matrix<double> s, GradientMoments kind) {
    LayerStatistics statistics;
    statistics.input_moments = std::move(c), statistics.gradient_moments = std::move(s);
    BOOST_CHECK_THROW(decomposed(two_sided(2, 1e-3, 0.1, kind), w, statistics), DataError);
    return message_of([&] { decomposed(two_sided(2, 1e-3, 0.1, kind), w, statistics); });
  };
  const auto& c = good.input_moments;
  const auto& s = good.gradient_moments;
  const auto full = GradientMoments::full, diagonal = GradientMoments::diagonal;
  for (const auto kind : {full, diagonal}) {
    BOOST_TEST(message(c, {}, kind) == "layer `h.0`: 'whitened-svd' needs second moments of the gradient in the layer's "
                                       "outputs: give calibration data");
    BOOST_TEST(message(c, c, kind) == "layer `h.0` (8 x 6): second moments of its gradient are 6 x 6, expected 8 x 8 or the "
                                      "diagonal, 1 x 8");
    BOOST_TEST(message(c, Doubles(8, 8), kind).starts_with("layer `h.0`, its gradient: second moment"));
    auto broken = s;
    broken(3, 3) = std::numeric_limits<double>::quiet_NaN();
    BOOST_TEST(message(c, broken, kind) ==
               "layer `h.0`: second moments of its gradient: [3, 3] is nan, expected a finite number");
    broken(3, 3) = -1e9;
    BOOST_TEST(message(c, broken, kind).starts_with("layer `h.0`, its gradient: second moment"));
  }
  BOOST_TEST(message(c, diagonal_of(s), full) ==
             "layer `h.0`: 'whitened-svd' needs all second moments of the gradient, found their diagonal");
  BOOST_TEST(message({}, s, full) ==
             "layer `h.0`: 'whitened-svd' needs second moments of the layer's inputs: give calibration data");
  BOOST_TEST(message(s, s, full) == "layer `h.0` (8 x 6): second moments of its inputs are 8 x 8, expected 6 x 6");
  BOOST_TEST(message(Doubles(6, 6), s, full).starts_with("layer `h.0`, its inputs: second moments of 6 values"));
  BOOST_CHECK_THROW(make_whitened_svd_decomposer(two_sided(2, 1e-3, -0.1)), ConfigError);
  BOOST_CHECK_THROW(make_whitened_svd_decomposer(two_sided(2, 1e-3, 0.1, GradientMoments::none)), ConfigError);
  auto unweighted = two_sided(2, 1e-3, 0.1);
  unweighted.weighting = Weighting::none;
  BOOST_CHECK_THROW(make_whitened_svd_decomposer(unweighted), ConfigError);
}

BOOST_AUTO_TEST_CASE(errors_in_both_moments_are_known_to_every_method_that_is_given_them) {
  const Tensor w = random_tensor({8, 6}, RandomStream(6));
  auto statistics = both_moments(8, 6, 3);
  const auto kronecker = make_kronecker_decomposer({4, 3, 2});
  BOOST_TEST((kronecker->needed_gradient_moments() == GradientMoments::none));
  const auto found = kronecker->decompose("w", w.view(), statistics);
  Doubles d = to_matrix<double>(w.view());
  const double whole = slow_error(d, statistics.gradient_moments, statistics.input_moments);
  const auto approximation = to_matrix<double>(found.factorization->to_dense().view());
  for (Index i = 0; i < d.size(); ++i) d.data()[i] -= approximation.data()[i];
  const double error = slow_error(d, statistics.gradient_moments, statistics.input_moments);
  BOOST_TEST(std::abs(*found.two_sided_error - std::sqrt(error / whole)) < 1e-12);
  statistics.input_moments = {};
  BOOST_TEST(!kronecker->decompose("w", w.view(), statistics).two_sided_error.has_value());
  statistics = both_moments(8, 6, 3);
  statistics.gradient_moments = {};
  BOOST_TEST(!kronecker->decompose("w", w.view(), statistics).two_sided_error.has_value());
}

BOOST_AUTO_TEST_CASE(a_configuration_says_which_moments_are_needed) {
  const auto table = [](const std::string& keys) {
    return config::StrictTable(config::parse_toml("kind = \"whitened-svd\"\nkeep = 0.5\n" + keys, "f.toml"));
  };
  const auto needed = [&](const std::string& keys) {
    const auto read = table(keys);
    const auto decomposer = decomposer_from(read);
    read.finish();
    return decomposer->needed_gradient_moments();
  };
  BOOST_TEST((needed("") == GradientMoments::none));
  BOOST_TEST((needed("weighting = \"inputs\"") == GradientMoments::none));
  BOOST_TEST((needed("weighting = \"two-sided\"\ngradient_damping = 0.5") == GradientMoments::full));
  BOOST_TEST((needed("weighting = \"two-sided\"\ngradient_moments = \"diagonal\"") == GradientMoments::diagonal));
  BOOST_TEST(message_of([&] { needed("weighting = \"outputs\""); }).starts_with("f.toml:3"));
  BOOST_CHECK_THROW(needed("weighting = \"two-sided\"\ngradient_damping = -1.0"), ConfigError);
  BOOST_CHECK_THROW(needed("weighting = \"two-sided\"\ngradient_moments = \"none\""), ConfigError);
  BOOST_CHECK_THROW(needed("gradient_damping = 0.1"), ConfigError);
  const auto search = [](const std::string& weighting) {
    return search_from(config::StrictTable(
        config::parse_toml("kind = \"norm-sort\"\nweighting = \"" + weighting + "\"\n", "f.toml")));
  };
  BOOST_TEST(!search("none").needs_input_moments());
  BOOST_TEST(search("inputs").needs_input_moments());
  BOOST_TEST((search("inputs").needed_gradient_moments() == GradientMoments::none));
  BOOST_TEST(search("two-sided").needs_input_moments());
  BOOST_TEST((search("two-sided").needed_gradient_moments() == GradientMoments::diagonal));
}

BOOST_AUTO_TEST_SUITE_END()
