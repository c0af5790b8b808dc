#include <lapacke.h>
#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "framework/linalg/blas_threads.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::linalg;
using kronlab::testing::random_matrix;
using kronlab::testing::relative_difference;
using enum Transpose;

namespace {

constexpr double eps = std::numeric_limits<double>::epsilon();

Matrix<double> product(Transpose ta, const Matrix<double>& a, Transpose tb, const Matrix<double>& b) {
  Matrix<double> c(ta == yes ? a.cols() : a.rows(), tb == yes ? b.rows() : b.cols());
  gemm(ta, a.view(), tb, b.view(), 0.0, c.view());
  return c;
}

Matrix<double> orthonormal(Index rows, Index cols, RandomStream random) {
  auto q = random_matrix(rows, cols, random);
  std::vector<double> tau(static_cast<std::size_t>(cols));
  const int m = static_cast<int>(rows), n = static_cast<int>(cols);
  LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, m, n, q.data(), n, tau.data());
  LAPACKE_dorgqr(LAPACK_ROW_MAJOR, m, n, n, q.data(), n, tau.data());
  return q;
}

/// A matrix with these singular values, s(i) for i = 0 .. min(rows, cols) - 1.
Matrix<double> with_spectrum(Index rows, Index cols, const auto& s) {
  const Index p = std::min(rows, cols);
  auto u = orthonormal(rows, p, RandomStream(1));
  const auto v = orthonormal(cols, p, RandomStream(2));
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < p; ++j) u(i, j) *= s(j);
  }
  return product(no, u, yes, v);
}

std::vector<double> lapack_values(Matrix<double> a) {
  std::vector<double> s(static_cast<std::size_t>(std::min(a.rows(), a.cols())));
  const int m = static_cast<int>(a.rows()), n = static_cast<int>(a.cols());
  const auto info = LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'N', m, n, a.data(), n, s.data(), nullptr, m, nullptr, n);
  BOOST_REQUIRE(info == 0);
  return s;
}

double distance_from_identity(const Matrix<double>& g) {
  double worst = 0;
  for (Index i = 0; i < g.rows(); ++i) {
    for (Index j = 0; j < g.cols(); ++j) worst = std::max(worst, std::abs(g(i, j) - (i == j)));
  }
  return worst;
}

/// What the header promises, against LAPACK.
Svd check(const Matrix<double>& a, Index k) {
  Svd result = truncated_svd(a, k);
  BOOST_TEST_CONTEXT(a.rows() << " x " << a.cols() << ", k = " << k << ", method " << static_cast<int>(result.method)) {
    const auto expected = lapack_values(a);
    const double n = static_cast<double>(std::max(a.rows(), a.cols())), largest = expected.front() * expected.front();
    // The error of an eigenvalue of A^T A: rounding of sums of n products, or the residual where lanczos stopped.
    const double error = (10 * n * eps + (result.method == SvdMethod::lanczos ? 1e-10 : 0.0)) * largest;
    const auto& s = result.singular_values;
    BOOST_REQUIRE(s.size() == (result.method == SvdMethod::lanczos ? static_cast<std::size_t>(k) : expected.size()));
    for (std::size_t i = 0; i < s.size(); ++i) {
      BOOST_TEST(std::abs(s[i] * s[i] - expected[i] * expected[i]) <= error);
      if (i > 0) BOOST_TEST(s[i] <= s[i - 1]);
    }
    BOOST_REQUIRE(result.u.rows() == a.rows() && result.u.cols() == k && result.vt.rows() == k &&
                  result.vt.cols() == a.cols());
    const bool is_tall = a.rows() >= a.cols() || result.method == SvdMethod::direct;
    BOOST_TEST(distance_from_identity(is_tall ? product(no, result.vt, yes, result.vt)
                                              : product(yes, result.u, no, result.u)) <= 10 * n * eps);
    Matrix<double> scaled(a.rows(), k);
    double tail = 0, squared_error = 0, norm = 0;
    for (Index i = 0; i < a.rows(); ++i) {
      for (Index j = 0; j < k; ++j) scaled(i, j) = result.u(i, j) * s[static_cast<std::size_t>(j)];
    }
    const auto approximation = product(no, scaled, no, result.vt);
    for (Index i = 0; i < a.size(); ++i)
      squared_error += std::pow(a.data()[i] - approximation.data()[i], 2), norm += std::pow(a.data()[i], 2);
    for (std::size_t i = static_cast<std::size_t>(k); i < expected.size(); ++i) tail += expected[i] * expected[i];
    BOOST_TEST(std::abs(squared_error - tail) <= 10 * n * eps * norm + static_cast<double>(k) * error);
  }
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(svd)

BOOST_AUTO_TEST_CASE(every_shape_and_spectrum_agrees_with_lapack) {
  for (const auto& [m, n] : {std::pair<Index, Index>{1, 1},
                             {1, 7},
                             {7, 1},
                             {1, 300},
                             {300, 1},
                             {5, 5},
                             {60, 64},
                             {64, 60},
                             {65, 65},
                             {130, 100},
                             {100, 130},
                             {300, 20},
                             {20, 300}}) {
    const Index p = std::min(m, n);
    for (const Index k : {Index{1}, (p + 2) / 3, p}) {
      check(random_matrix(m, n, RandomStream(3)), k);
      check(with_spectrum(m, n, [](Index) { return 2.0; }), k);  // flat
      check(with_spectrum(m, n, [](Index i) { return std::pow(2.0, -static_cast<double>(i / 3)); }),
            k);                                                                                        // clusters of 3
      check(with_spectrum(m, n, [](Index i) { return i < 2 ? 1.0 : 0.0; }), k);                        // rank 2
      check(with_spectrum(m, n, [](Index i) { return std::pow(10.0, -static_cast<double>(i)); }), k);  // into the noise
      check(Matrix<double>(m, n), k);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_zero_matrix_has_zero_values_and_finite_vectors) {
  for (const Index n : {8, 80, 520}) {
    const auto result = truncated_svd(Matrix<double>(2 * n, n), 2);
    for (const double s : result.singular_values) BOOST_TEST(s == 0.0);
    for (Index i = 0; i < result.u.size(); ++i) BOOST_REQUIRE(std::isfinite(result.u.data()[i]));
  }
}

BOOST_AUTO_TEST_CASE(few_triples_of_a_large_matrix_are_found_by_lanczos_whatever_the_spectrum) {
  for (const auto& [m, n] : {std::pair<Index, Index>{600, 520}, {520, 600}}) {
    const auto falling = with_spectrum(m, n, [](Index i) { return 1 / (1.0 + static_cast<double>(i)); });
    for (const Index k : {1, 5}) {
      const auto found = check(falling, k);
      BOOST_TEST((found.method == SvdMethod::lanczos));
      BOOST_TEST(found.num_iterations > 0);
      BOOST_TEST(found.residual <= 1e-10);
    }
    BOOST_TEST((check(falling, 6).method == SvdMethod::gram));
    // More equal values than are wanted, and than a block holds.
    const auto clustered =
        with_spectrum(m, n, [](Index i) { return i < 9 ? 1.0 : 0.5 / (1.0 + static_cast<double>(i)); });
    BOOST_TEST((check(clustered, 5).method == SvdMethod::lanczos));
    // The space is exhausted after three vectors: fewer than are wanted.
    BOOST_TEST(
        (check(with_spectrum(m, n, [](Index i) { return i < 3 ? 3.0 - static_cast<double>(i) : 0.0; }), 5).method ==
         SvdMethod::lanczos));
    check(with_spectrum(m, n, [](Index) { return 1.0; }), 5);
    BOOST_TEST((check(with_spectrum(m, n, [](Index i) { return 1 - 1e-3 * static_cast<double>(i); }), 5).method ==
                SvdMethod::gram));
  }
}

BOOST_AUTO_TEST_CASE(results_have_the_same_bits_for_any_number_of_threads_and_blas_stays_on_one) {
  const int threads = omp_get_max_threads();
  for (const auto& [n, k] : {std::pair<Index, Index>{520, 3}, {300, 100}, {60, 10}}) {
    const auto a = with_spectrum(n + 10, n, [](Index i) { return 1 / (1.0 + static_cast<double>(i)); });
    omp_set_num_threads(1);
    const auto one = truncated_svd(a, k);
    omp_set_num_threads(3);
    const auto three = truncated_svd(a, k);
    BOOST_TEST(one.singular_values == three.singular_values);
    BOOST_TEST(relative_difference(one.u.view(), three.u.view()) == 0.0);
    BOOST_TEST(relative_difference(one.vt.view(), three.vt.view()) == 0.0);
  }
  omp_set_num_threads(threads);
  BOOST_TEST(openblas_get_num_threads() == 1);
}

BOOST_AUTO_TEST_CASE(bad_input_is_refused) {
  auto a = random_matrix(8, 6, RandomStream(1));
  BOOST_CHECK_THROW(truncated_svd(a, 0), ContractError);
  BOOST_CHECK_THROW(truncated_svd(a, 7), ContractError);
  BOOST_CHECK_THROW(symmetric_eigen(a), ContractError);
  a(3, 2) = std::numeric_limits<double>::quiet_NaN();
  BOOST_CHECK_THROW(truncated_svd(a, 2), DataError);
}

BOOST_AUTO_TEST_CASE(eigenvectors_are_rows_and_the_cholesky_factor_inverts_from_the_right) {
  const Index n = 40;
  const auto x = random_matrix(3 * n, n, RandomStream(5));
  Matrix<double> c(n, n);
  gram(x.view(), c);
  const auto eigen = symmetric_eigen(c);
  auto scaled = eigen.vectors;
  for (Index i = 0; i < n; ++i) {
    for (double& v : scaled.row(i)) v *= eigen.values[static_cast<std::size_t>(i)];
  }
  BOOST_TEST(relative_difference(product(yes, eigen.vectors, no, scaled).view(), c.view()) <
             10 * static_cast<double>(n) * eps);
  const auto l = damped_cholesky(c, 0.0);
  BOOST_TEST(relative_difference(product(no, l, yes, l).view(), c.view()) < 10 * static_cast<double>(n) * eps);
  const auto b = random_matrix(5, n, RandomStream(6));
  auto solved = product(no, b, no, l);
  solve_right_lower(l, solved);
  const double condition = std::sqrt(eigen.values.back() / eigen.values.front());
  BOOST_TEST(relative_difference(solved.view(), b.view()) < 10 * static_cast<double>(n) * eps * condition);
  const auto tall = random_matrix(n, 5, RandomStream(7));
  auto solved_left = product(yes, l, no, tall);
  solve_left_transposed_lower(l, solved_left);
  BOOST_TEST(relative_difference(solved_left.view(), tall.view()) < 10 * static_cast<double>(n) * eps * condition);
  BOOST_CHECK_THROW(solve_left_transposed_lower(l, solved), ContractError);
  BOOST_CHECK_THROW(damped_cholesky(Matrix<double>(4, 4), 0.5), DataError);
  BOOST_CHECK_THROW(damped_cholesky(c, -1.0), ContractError);
  Matrix<double> singular(4, 4);
  for (Index i = 0; i < 16; ++i) singular.data()[i] = 1.0;
  BOOST_TEST(damped_cholesky(singular, 1e-3)(0, 0) == std::sqrt(1.001));
}

BOOST_AUTO_TEST_SUITE_END()
