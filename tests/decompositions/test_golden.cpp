#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "decompositions/decomposer.hpp"
#include "decompositions/mpo_decomposer.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/storage/safetensors.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::relative_difference;

namespace {

/// Weight and factors are float32, which moves a product by a few eps (6e-8), and the kept subspace by that over the
/// relative gap of the singular values at the cut, which `check` requires to be at least `least_gap`.
constexpr double tolerance = 1e-5;
constexpr double least_gap = 0.01;

/// A weight, its inputs, and what an independent implementation (numpy, in double) made of them: `golden/compression`.
class GoldenCases {
 public:
  explicit GoldenCases(const std::filesystem::path& folder)
      : tensors_((folder / "golden.safetensors").string()),
        numbers_(nlohmann::json::parse(std::ifstream(folder / "golden.json"))),
        weight_(tensors_.load("weight")) {
    const auto inputs = tensors_.load("inputs", DType::f64);
    statistics_.input_moments = Matrix<double>(inputs.cols(), inputs.cols());
    linalg::gram(inputs.view(), statistics_.input_moments);
    statistics_.num_tokens = inputs.rows();
  }

  void check(const std::string& name, std::size_t kept, const Decomposer& decomposer) const {
    BOOST_TEST_CONTEXT(name) {
      const auto result = decomposer.decompose("w", weight_.view(), statistics_);
      BOOST_REQUIRE(result.spectrum.size() > kept);
      BOOST_TEST(result.spectrum[kept] < (1 - least_gap) * result.spectrum[kept - 1]);
      BOOST_TEST(relative_difference(result.factorization->to_dense().view(), tensors_.load(name, DType::f64).view()) <
                 tolerance);
      const auto& expected = numbers_.at(name);
      const double squared = expected.at("relative_squared_error"),
                   activation = expected.at("activation_squared_error");
      BOOST_TEST(std::abs(result.relative_error * result.relative_error / squared - 1) < tolerance);
      BOOST_TEST(std::abs(*result.weighted_error * *result.weighted_error / activation - 1) < tolerance);
    }
  }

 private:
  storage::SafetensorsFile tensors_;
  nlohmann::json numbers_;
  Tensor weight_;
  LayerStatistics statistics_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(golden)

BOOST_AUTO_TEST_CASE(svd_and_whitened_svd_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(folder, "golden/compression");
  const GoldenCases cases(folder);
  for (const Index truncation : {4, 8, 12}) {
    const SvdOptions size{.truncation = truncation, .keep = {}};
    cases.check(fmt::format("svd_r{}", truncation), static_cast<std::size_t>(truncation), *make_svd_decomposer(size));
    cases.check(fmt::format("whitened_svd_r{}", truncation), static_cast<std::size_t>(truncation),
                *make_whitened_svd_decomposer({size, 0.0}));
  }
}

BOOST_AUTO_TEST_CASE(kronecker_sums_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(folder, "golden/compression");
  const GoldenCases cases(folder);
  for (const auto& [rows, cols, terms] :
       {std::tuple<Index, Index, Index>{2, 1, 1}, {1, 2, 1}, {2, 4, 4}, {2, 2, 2}, {4, 6, 3}, {6, 6, 2}}) {
    cases.check(fmt::format("kronecker_{}x{}_terms{}", rows, cols, terms), static_cast<std::size_t>(terms),
                *make_kronecker_decomposer({24 / rows, 48 / cols, terms}));
  }
}

BOOST_AUTO_TEST_CASE(matrix_product_operators_are_those_of_the_reference) {
  KRONLAB_NEEDS_DATA(folder, "golden/compression");
  const GoldenCases cases(folder);
  for (const Index bond : {2, 4, 6})
    cases.check(fmt::format("mpo_chi{}", bond), static_cast<std::size_t>(bond),
                *make_mpo_decomposer({.row_factors = {2, 3, 4}, .col_factors = {3, 4, 4}, .num_sites = {}, .bond_dimension = bond, .keep = {}}));
}

BOOST_AUTO_TEST_SUITE_END()
