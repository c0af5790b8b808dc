#include <omp.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "decompositions/registry.hpp"
#include "decompositions/token_trains.hpp"
#include "framework/linalg/gemm.hpp"
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

std::unique_ptr<Decomposer> embedding(const std::string& keys) {
  return kronlab::testing::configured("kind = \"tensor-train-embedding\"\n" + keys);
}

const std::string table = "form = \"table\"\n", token = "form = \"token\"\n";

/// |x W^T - y|_F / |y|_F with y from `apply` in double, and the same for the adjoint.
std::pair<double, double> disagreement(const Factorization& w) {
  const auto dense = to_matrix<double>(w.to_dense().view());
  const auto x = testing::random_matrix(3, w.cols(), RandomStream(1)), y = testing::random_matrix(3, w.rows(), RandomStream(2));
  Matrix<double> applied(3, w.rows()), expected(3, w.rows()), back(3, w.cols()), expected_back(3, w.cols());
  w.apply(ConstTensorView(x.view()), TensorView(applied.view()));
  w.apply_adjoint(ConstTensorView(y.view()), TensorView(back.view()));
  linalg::gemm(linalg::Transpose::no, x.view(), linalg::Transpose::yes, std::as_const(dense).view(), 0.0, expected.view());
  linalg::gemm(linalg::Transpose::no, y.view(), linalg::Transpose::no, std::as_const(dense).view(), 0.0, expected_back.view());
  return {relative_difference(applied.view(), expected.view()), relative_difference(back.view(), expected_back.view())};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(embeddings)

BOOST_AUTO_TEST_CASE(full_bonds_are_exact_and_sizes_are_known_beforehand) {
  const Tensor w = random_tensor({53, 24}, RandomStream(1));  // a prime vocabulary: padded to 54 = 3 x 3 x 6 for three sites
  for (const auto& form : {table, token, table + "num_sites = 2\n", token + "num_sites = 2\n", table + "row_factors = [4, 14]\ncol_factors = [8, 3]\n"}) {
    double previous = 2;
    for (Index bond = 1;; ++bond) {
      const auto decomposer = embedding(form + fmt::format("bond_dimension = {}", bond));
      Size size;
      try {
        size = decomposer->size_of("wte", 53, 24);
      } catch (const ConfigError&) {
        break;
      }
      const auto result = decomposer->decompose("wte", w.view(), {});
      BOOST_TEST(result.factorization->num_parameters() == size.num_parameters);
      BOOST_TEST(result.factorization->stored_bytes() == size.stored_bytes);
      BOOST_TEST(result.factorization->rows() == 53);
      BOOST_TEST(result.relative_error <= previous);
      // The parts that are cut off are orthogonal; some of them lie in the padding.
      const double cut = std::sqrt(std::accumulate(result.discarded_weights.begin(), result.discarded_weights.end(), 0.0));
      BOOST_TEST(result.relative_error < cut + 10 * float_eps);
      if (form.starts_with(token)) BOOST_TEST(result.relative_error > cut - 10 * float_eps);
      BOOST_TEST(decomposer->cost(53, 24) > 0);
      previous = result.relative_error;
      const auto [applied, back] = disagreement(*result.factorization);
      BOOST_TEST(applied < 30 * float_eps);
      BOOST_TEST(back < 30 * float_eps);
    }
    BOOST_TEST(previous < 30 * float_eps);
  }
}

BOOST_AUTO_TEST_CASE(a_train_of_two_sites_for_a_token_is_the_truncated_svd_of_its_row) {
  const Tensor w = random_tensor({7, 20}, RandomStream(2));
  const auto result = embedding(token + "col_factors = [4, 5]\nbond_dimension = 2")->decompose("wte", w.view(), {});
  const std::vector<std::int32_t> ids{5, 0, 5};
  Tensor rows(DType::f64, {3, 20});
  result.factorization->gather_rows(ids, rows.view());
  for (std::size_t t = 0; t < ids.size(); ++t) {
    Matrix<double> row(4, 5), expected(4, 5);
    std::copy_n(w.matrix<float>().row(ids[t]).data(), 20, row.data());
    const auto svd = linalg::truncated_svd(row, 2);
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < 5; ++j) {
        for (Index k = 0; k < 2; ++k) expected(i, j) += svd.u(i, k) * svd.singular_values[static_cast<std::size_t>(k)] * svd.vt(k, j);
      }
    }
    auto found = rows.view().block(static_cast<Index>(t), 0, 1, 20);
    found.rows = 4, found.cols = found.stride = 5;
    BOOST_TEST(relative_difference(found, expected.view()) < 10 * float_eps);
  }
}

BOOST_AUTO_TEST_CASE(trains_of_tokens_are_bit_equal_for_any_number_of_threads) {
  const Tensor w = random_tensor({201, 24}, RandomStream(3));
  const int threads = omp_get_max_threads();
  std::vector<std::string> found;
  for (const int count : {1, 2, 3}) {
    omp_set_num_threads(count);
    found.push_back(serialise(embedding(token + "keep = 0.6")->decompose("wte", w.view(), {}).factorization->parts()));
  }
  omp_set_num_threads(threads);
  BOOST_TEST((found[1] == found[0] && found[2] == found[0]));
}

BOOST_AUTO_TEST_CASE(real_vocabularies_have_sizes_that_can_be_counted) {
  // 49152 = 32 x 32 x 48 by 576 = 9 x 8 x 8
  BOOST_TEST(embedding(table + "bond_dimension = 64")->size_of("wte", 49152, 576).num_parameters == 32 * 9 * 64 + 64 * 32 * 8 * 64 + 64 * 48 * 8);
  BOOST_TEST(embedding(token + "bond_dimension = 4")->size_of("wte", 49152, 576).num_parameters == 49152 * (9 * 4 + 4 * 8 * 4 + 4 * 8));
  BOOST_TEST(embedding(table + "row_factors = [29, 1733]\ncol_factors = [32, 24]\nbond_dimension = 10")->size_of("wte", 50257, 768).num_parameters == 29 * 32 * 10 + 10 * 1733 * 24);
  BOOST_TEST(static_cast<double>(embedding(table + "keep = 0.25")->size_of("wte", 50257, 768).num_parameters) <= 0.25 * 50257 * 768);
  BOOST_TEST(static_cast<double>(embedding(table + "keep = 0.25")->size_of("wte", 50257, 768).num_parameters) > 0.24 * 50257 * 768);
}

BOOST_AUTO_TEST_CASE(what_does_not_suit_is_refused_with_what_would) {
  const auto message = [](const std::string& keys) { return message_of([&] { embedding(keys)->size_of("wte", 53, 24); }); };
  BOOST_TEST(message(table + "row_factors = [5, 5, 2]\nbond_dimension = 2") ==
             "tensor-train-embedding: row_factors 5 x 5 x 2 make 50, expected at least the rows of `wte`, 53");
  BOOST_TEST(message(table + "col_factors = [5, 5]\nbond_dimension = 2") == "tensor-train-embedding: columns of `wte` are 24, the factors 5 x 5 make more");
  BOOST_TEST(message(token + "num_sites = 5\nbond_dimension = 2") ==
             "tensor-train-embedding: columns of `wte` (24) are no product of 5 factors of about the same size; 32 can be; or give the factors, which may be 1");
  BOOST_TEST(message(token + "row_factors = [5, 11]\nbond_dimension = 2") ==
             "f.toml:1:1: kind: tensor-train-embedding: row_factors are of form = \"table\" only: every token has a train of its own");
  BOOST_TEST(message(token) == "f.toml:1:1: kind: tensor-train-embedding: give bond_dimension, keep or truncation_error");
  BOOST_TEST(message(token + "truncation_error = 0.1") ==
             "f.toml:1:1: kind: tensor-train-embedding: truncation_error is of form = \"table\" only: the cores of all tokens have one shape");
  BOOST_TEST(message(token + "num_sites = 2\nbond_dimension = 5").starts_with("tensor-train-embedding: bond_dimension 5 for `wte` (53 x 24), but bonds of sites"));
  BOOST_TEST(message(token + "num_sites = 2\nkeep = 0.1").starts_with("tensor-train-embedding: keep is 0.1 for `wte` (53 x 24), but sites"));
}

BOOST_AUTO_TEST_CASE(cores_of_trains_that_do_not_fit_each_other_are_refused) {
  const auto error = [](std::vector<std::vector<Index>> shapes) {
    return message_of([&] {
      std::vector<Tensor> cores;
      for (auto& shape : shapes) cores.push_back(random_tensor(shape, RandomStream(1)));
      TokenTrains(std::move(cores));
    });
  };
  BOOST_TEST(error({}) == "token trains: no cores");
  BOOST_TEST(error({{4, 1, 3, 2}, {5, 2, 2, 1}}) == "token trains: core1 has 5 rows, expected 4");
  BOOST_TEST(error({{4, 1, 3, 2}, {4, 3, 2, 1}}) == "token trains: core1 has 3 on its left, expected 2");
  BOOST_TEST(error({{4, 1, 3, 2}}) == "token trains: the last core has 2 on its right, expected 1");
  BOOST_TEST(error({{4, 1, 3}}) == "token trains: core0 is no array of floats with four extents, as the others");
}

BOOST_AUTO_TEST_SUITE_END()
