#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "decompositions/interpolative_decomposer.hpp"
#include "framework/linalg/gemm.hpp"
#include "tests/decompositions/configured.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::message_of;
using kronlab::testing::random_matrix;
using kronlab::testing::random_tensor;
using linalg::Transpose;

namespace {

constexpr double float_eps = std::numeric_limits<float>::epsilon();

std::unique_ptr<Decomposer> interpolative(const std::string& keys) {
  return kronlab::testing::configured("kind = \"interpolative\"\n" + keys);
}

Matrix<double> product(Transpose of_a, const Matrix<double>& a, Transpose of_b, const Matrix<double>& b) {
  Matrix<double> result(of_a == Transpose::no ? a.rows() : a.cols(), of_b == Transpose::no ? b.cols() : b.rows());
  linalg::gemm(of_a, a.view(), of_b, b.view(), 0.0, result.view());
  return result;
}

Matrix<double> transposed(const Matrix<double>& a) {
  Matrix<double> result(a.cols(), a.rows());
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.cols(); ++j) result(j, i) = a(i, j);
  }
  return result;
}

/// |T - P T| / |T| with P the projection on the span of some columns, by Gram and Schmidt.
double error_of(const Matrix<double>& candidates, const Matrix<double>& target, const std::vector<Index>& chosen) {
  std::vector<std::vector<double>> basis;
  const auto m = static_cast<std::size_t>(candidates.rows());
  const auto without_span = [&](std::vector<double> v) {
    for (int twice = 0; twice < 2; ++twice) {
      for (const auto& q : basis) {
        const double part = std::inner_product(q.begin(), q.end(), v.begin(), 0.0);
        for (std::size_t i = 0; i < m; ++i) v[i] -= part * q[i];
      }
    }
    return v;
  };
  const auto column = [&](const Matrix<double>& of, Index j) {
    std::vector<double> v(m);
    for (std::size_t i = 0; i < m; ++i) v[i] = of(static_cast<Index>(i), j);
    return v;
  };
  const auto square = [](const std::vector<double>& v) {
    return std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
  };
  for (const Index j : chosen) {
    auto rest = without_span(column(candidates, j));
    const double length = std::sqrt(square(rest));
    for (double& value : rest) value /= length;
    basis.push_back(std::move(rest));
  }
  double left = 0, all = 0;
  for (Index j = 0; j < target.cols(); ++j) {
    left += square(without_span(column(target, j)));
    all += square(column(target, j));
  }
  return std::sqrt(left / all);
}

struct Case {
  std::string keys;
  bool has_columns, is_weighted;
};
const std::vector<Case> cases{{"", true, false},
                              {"skeleton = \"rows\"\n", false, false},
                              {"weighting = \"inputs\"\ndamping = 0.0\n", true, true},
                              {"skeleton = \"rows\"\nweighting = \"inputs\"\ndamping = 0.0\n", false, true}};

/// A weight [7, 8], inputs with moments L L^T, and what is chosen of what for which target.
struct Problem {
  Tensor weight = random_tensor({7, 8}, RandomStream(1));
  Matrix<double> root = random_matrix(8, 8, RandomStream(2));
  LayerStatistics statistics;
  Matrix<double> candidates, target;

  explicit Problem(const Case& of) {
    for (Index i = 0; i < 8; ++i) {
      for (Index j = 0; j < 8; ++j) root(i, j) = j > i ? 0.0 : i == j ? 0.1 + static_cast<double>(i) : root(i, j);
    }
    statistics.input_moments = product(Transpose::no, root, Transpose::yes, root);
    const auto w = to_matrix<double>(std::as_const(weight).view());
    target = of.is_weighted ? product(Transpose::no, w, Transpose::no, root) : to_matrix<double>(w.view());
    candidates = to_matrix<double>(w.view());
    if (!of.has_columns) candidates = transposed(target), target = transposed(target);
  }
};

/// Of all choices of r.
double least_error(const Problem& problem, Index r) {
  double least = 1;
  const auto n = static_cast<unsigned>(problem.candidates.cols());
  for (unsigned set = 0; set < 1U << n; ++set) {
    if (std::popcount(set) != r) continue;
    std::vector<Index> chosen;
    for (unsigned c = 0; c < n; ++c) {
      if ((set >> c & 1U) != 0) chosen.push_back(c);
    }
    least = std::min(least, error_of(problem.candidates, problem.target, chosen));
  }
  return least;
}

/// Which columns (rows) of the weight a factorization keeps, in the sequence of their choice; they are exact in it.
std::vector<Index> skeleton_of(const Factorization& factorization, ConstTensorView weight, bool has_columns) {
  const auto parts = factorization.parts();
  const auto left = parts.tensors.at("left").matrix<float>(), right = parts.tensors.at("right").matrix<float>();
  const auto w = weight.as<float>();
  std::vector<Index> chosen;
  for (Index k = 0; k < left.cols; ++k) {
    for (Index c = 0; c < (has_columns ? w.cols : w.rows); ++c) {
      bool is_same = true;
      for (Index i = 0; i < (has_columns ? w.rows : w.cols); ++i) {
        is_same = is_same && (has_columns ? left(i, k) == w(i, c) : right(k, i) == w(c, i));
      }
      if (is_same) chosen.push_back(c);
    }
  }
  return chosen;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(interpolative_decompositions)

BOOST_AUTO_TEST_CASE(each_choice_is_the_best_that_can_be_made_after_those_before_and_the_rest_is_least_squares) {
  for (const auto& of : cases) {
    const Problem problem(of);
    const Index num_candidates = problem.candidates.cols();
    double previous = 1;
    for (Index r = 1; r < 7; ++r) {
      const auto result = interpolative(of.keys + fmt::format("truncation = {}", r))
                              ->decompose("w", problem.weight.view(), problem.statistics);
      const double error = of.is_weighted ? *result.weighted_error : result.relative_error;
      const auto chosen = skeleton_of(*result.factorization, problem.weight.view(), of.has_columns);
      BOOST_TEST_REQUIRE(static_cast<Index>(chosen.size()) == r);
      BOOST_TEST(std::abs(error - error_of(problem.candidates, problem.target, chosen)) < 100 * float_eps);
      double best = 1;
      for (Index c = 0; c < num_candidates; ++c) {
        auto other = chosen;
        other.back() = c;
        if (std::ranges::count(other, c) == 1)
          best = std::min(best, error_of(problem.candidates, problem.target, other));
      }
      BOOST_TEST(std::abs(error - best) < 100 * float_eps);
      BOOST_TEST(error < previous);
      previous = error;
      const auto bound = of.is_weighted ? make_whitened_svd_decomposer({{.truncation = r, .keep = {}}, 0.0})
                                        : make_svd_decomposer({.truncation = r, .keep = {}});
      const auto nearest = bound->decompose("w", problem.weight.view(), problem.statistics);
      const double least = of.is_weighted ? *nearest.weighted_error : nearest.relative_error;
      BOOST_TEST(error > least);  // Eckart and Young
      // What the best choice of r keeps within: Deshpande, Rademacher, Vempala and Wang, Matrix approximation and
      // projective clustering via volume sampling, 2006.
      const double optimum = least_error(problem, r);
      BOOST_TEST(optimum < std::sqrt(static_cast<double>(r) + 1) * least);
      BOOST_TEST(error > optimum * (1 - 1e-4));
      if (r == 1) BOOST_TEST(error < optimum * (1 + 1e-4));
    }
  }
}

BOOST_AUTO_TEST_CASE(all_columns_or_rows_are_exact_and_a_weight_of_lower_rank_needs_no_more_than_its_rank) {
  for (const auto& of : cases) {
    const Problem problem(of);
    const auto all =
        interpolative(of.keys + "truncation = 7")->decompose("w", problem.weight.view(), problem.statistics);
    BOOST_TEST(all.relative_error < 1000 * float_eps);
    auto u = random_matrix(7, 2, RandomStream(3)), v = random_matrix(2, 8, RandomStream(4));
    Tensor low(DType::f32, {7, 8});
    const auto uv = product(Transpose::no, u, Transpose::no, v);
    convert(uv.view(), low.view());
    const auto decomposer = interpolative(of.keys + "truncation = 5");
    const auto exact = decomposer->decompose("w", low.view(), problem.statistics);
    BOOST_TEST(exact.relative_error < 1000 * float_eps);
    BOOST_TEST(exact.factorization->num_parameters() == decomposer->size_of("w", 7, 8).num_parameters);
    const Tensor zero(DType::f32, {7, 8});
    BOOST_TEST(decomposer->decompose("w", zero.view(), problem.statistics).relative_error == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(its_size_is_that_of_two_factors_and_weights_lower_the_weighted_error) {
  const auto half = interpolative("keep = 0.5");
  BOOST_TEST(half->size_of("w", 12, 20).num_parameters == 3 * (12 + 20));
  BOOST_TEST(half->stored_factors("w", 12, 20).size() == 2u);
  BOOST_TEST(half->cost(12, 20) > 0);
  BOOST_TEST(!half->needs_input_moments());
  for (const std::string skeleton : {"columns", "rows"}) {
    const auto problem = Problem(cases[2]);
    const std::string keys = fmt::format("skeleton = \"{}\"\ntruncation = 3\n", skeleton);
    const auto plain = interpolative(keys)->decompose("w", problem.weight.view(), problem.statistics);
    const auto weighted =
        interpolative(keys + "weighting = \"inputs\"")->decompose("w", problem.weight.view(), problem.statistics);
    BOOST_TEST(*weighted.weighted_error < *plain.weighted_error);
    BOOST_TEST(weighted.factorization->stored_bytes() == plain.factorization->stored_bytes());
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_suit_is_refused) {
  BOOST_TEST(message_of([] { interpolative("truncation = 8")->size_of("h.0", 7, 9); }) ==
             "interpolative: truncation 8 for `h.0` (7 x 9), expected 1 to 7");
  BOOST_TEST(message_of([] { interpolative(""); }) ==
             "f.toml:1:1: kind: interpolative: give either truncation or keep");
  BOOST_TEST(message_of([] {
               make_interpolative_decomposer({.size = {.truncation = 2, .keep = {}}, .damping = -1.0});
             }) == "interpolative: damping is -1, expected 0 or more");
  BOOST_TEST(message_of([] {
               make_interpolative_decomposer(
                   {.size = {.truncation = 2, .keep = {}}, .weighting = Weighting::two_sided});
             }) == "interpolative: weighting is two-sided, expected none or inputs");
  const Tensor w = random_tensor({7, 8}, RandomStream(1));
  BOOST_CHECK_THROW(interpolative("truncation = 2\nweighting = \"inputs\"")->decompose("w", w.view(), {}), DataError);
  LayerStatistics singular;
  singular.input_moments = Matrix<double>(8, 8);
  const auto message = message_of([&] {
    interpolative("truncation = 2\nweighting = \"inputs\"\ndamping = 0.0")->decompose("w", w.view(), singular);
  });
  BOOST_TEST(message.starts_with("layer `w`, its inputs: "), message);
}

BOOST_AUTO_TEST_SUITE_END()
