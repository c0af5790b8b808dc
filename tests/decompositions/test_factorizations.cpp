#include <boost/test/unit_test.hpp>
#include <cmath>

#include "framework/linalg/gemm.hpp"
#include "tests/decompositions/examples.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::examples;
using kronlab::testing::random_kronecker;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

constexpr double float_eps = 6e-8;

}  // namespace

BOOST_AUTO_TEST_SUITE(factorizations)

BOOST_AUTO_TEST_CASE(a_kronecker_sum_is_the_sum_of_its_products) {
  const auto w = random_kronecker(2, 3, 4, 2, 5, RandomStream(3));
  const auto parts = w->parts();
  const auto a = parts.children.at("left").tensors.at("weight").matrix<float>();
  const auto b = parts.tensors.at("right").values<float>();
  const Tensor dense = w->to_dense();
  for (Index i = 0; i < 6; ++i) {
    for (Index j = 0; j < 20; ++j) {
      double expected = 0;
      for (Index k = 0; k < 2; ++k)
        expected += double{a(i / 2, k * 4 + j / 5)} * b[static_cast<std::size_t>((k * 2 + i % 2) * 5 + j % 5)];
      BOOST_TEST(std::abs(dense.matrix<float>()(i, j) - expected) < 8 * float_eps * 10);
    }
  }
}

BOOST_AUTO_TEST_CASE(application_equals_the_dense_product_in_every_precision) {
  for (const auto& w : examples()) {
    const Tensor dense = w->to_dense();
    const Tensor x = random_tensor({9, w->cols()}, RandomStream(21));
    const Tensor y = random_tensor({9, w->rows()}, RandomStream(22));
    for (const auto& [dtype, eps] : {std::pair{DType::f32, float_eps}, {DType::f64, float_eps}, {DType::bf16, 4e-3}}) {
      // f64: the dense form that is compared with is itself rounded to float
      Tensor in = Tensor::uninitialised(dtype, x.shape()), out(dtype, y.shape()),
             grad = Tensor::uninitialised(dtype, y.shape()), back(dtype, x.shape());
      convert(x.view(), in.view());
      convert(y.view(), grad.view());
      Matrix<double> expected = to_matrix<double>(y.view());
      convert(y.view(), out.view());
      linalg::gemm(linalg::Transpose::no, to_matrix<double>(x.view()).view(), linalg::Transpose::yes,
                   to_matrix<double>(dense.view()).view(), 1.0, expected.view());
      w->apply(in.view(), out.view(), linalg::Write::add);
      BOOST_TEST(relative_difference(out.view(), expected.view()) < 10 * eps);
      Matrix<double> expected_back(9, w->cols());
      linalg::gemm(linalg::Transpose::no, to_matrix<double>(y.view()).view(), linalg::Transpose::no,
                   to_matrix<double>(dense.view()).view(), 0.0, expected_back.view());
      w->apply_adjoint(grad.view(), back.view());
      BOOST_TEST(relative_difference(back.view(), expected_back.view()) < 10 * eps);
    }
  }
}

BOOST_AUTO_TEST_CASE(parts_and_bytes_bring_back_the_same_operator) {
  for (const auto& w : examples()) {
    const auto again = make_factorization(deserialise(serialise(w->parts())));
    BOOST_TEST(relative_difference(again->to_dense().view(), w->to_dense().view()) == 0.0);
    BOOST_TEST(again->num_parameters() == w->num_parameters());
    BOOST_TEST(again->stored_bytes() == w->stored_bytes());
  }
}

BOOST_AUTO_TEST_CASE(truncated_bytes_are_a_data_error_at_every_length) {
  const std::string bytes = serialise(examples().back()->parts());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    BOOST_CHECK_THROW(make_factorization(deserialise(std::string_view(bytes).substr(0, length))), DataError);
  }
}

BOOST_AUTO_TEST_CASE(a_permutation_moves_rows_and_columns_where_it_says) {
  auto inner = std::make_unique<Dense>(random_tensor({3, 4}, RandomStream(5)));
  const Tensor plain = inner->to_dense();
  const Permuted w(std::move(inner), {2, 0, 1}, {3, 1, 0, 2});
  const Tensor moved = w.to_dense();
  const Index rows[] = {2, 0, 1}, columns[] = {3, 1, 0, 2};
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 4; ++j) BOOST_TEST(moved.matrix<float>()(rows[i], columns[j]) == plain.matrix<float>()(i, j));
  }
  BOOST_TEST(w.num_parameters() == 12);
  BOOST_TEST(w.stored_bytes() == 12 * 4 + 7 * 4);
}

BOOST_AUTO_TEST_CASE(a_sum_is_the_sum_of_its_terms_and_has_their_parameters_and_bytes) {
  std::vector<std::unique_ptr<Factorization>> terms;
  Matrix<double> expected(12, 20);
  Index num_parameters = 0, bytes = 0;
  for (auto& term : examples()) {  // more than ten: by number, not by name
    const auto dense = to_matrix<double>(term->to_dense().view());
    for (Index i = 0; i < dense.size(); ++i) expected.data()[i] += dense.data()[i];
    num_parameters += term->num_parameters(), bytes += term->stored_bytes();
    terms.push_back(std::move(term));
  }
  BOOST_TEST_REQUIRE(terms.size() > 10u);
  const auto tenth = serialise(terms[10]->parts());
  const Sum sum(std::move(terms));
  BOOST_TEST(relative_difference(sum.to_dense().view(), expected.view()) < 20 * float_eps);
  BOOST_TEST(sum.num_parameters() == num_parameters);
  BOOST_TEST(sum.stored_bytes() == bytes);
  const auto again = make_factorization(sum.parts());
  BOOST_TEST(serialise(again->parts()) == serialise(sum.parts()));
  BOOST_TEST(serialise(again->parts().children.at("part10")) == tenth);
  BOOST_TEST(relative_difference(again->to_dense().view(), sum.to_dense().view()) == 0.0);
}

BOOST_AUTO_TEST_CASE(a_sum_of_nothing_of_other_shapes_or_with_a_gap_is_refused) {
  const auto sum = [](Index rows) {
    std::vector<std::unique_ptr<Factorization>> terms;
    terms.push_back(std::make_unique<Dense>(random_tensor({3, 4}, RandomStream(1))));
    terms.push_back(std::make_unique<Dense>(random_tensor({rows, 4}, RandomStream(2))));
    return Sum(std::move(terms));
  };
  BOOST_CHECK_THROW(Sum({}), DataError);
  BOOST_CHECK_THROW(sum(2), DataError);
  auto parts = sum(3).parts();
  parts.children["part2"] = std::move(parts.children.at("part1"));
  parts.children.erase("part1");
  BOOST_CHECK_THROW(make_factorization(std::move(parts)), DataError);
  BOOST_CHECK_THROW(make_factorization({"sum", {}, {}, {}}), DataError);
}

BOOST_AUTO_TEST_CASE(what_is_no_permutation_is_refused) {
  const auto permuted = [](std::vector<Index> rows) {
    return Permuted(std::make_unique<Dense>(random_tensor({3, 4}, RandomStream(5))), std::move(rows), {});
  };
  BOOST_CHECK_THROW(permuted({0, 1}), DataError);
  BOOST_CHECK_THROW(permuted({0, 1, 1}), DataError);
  BOOST_CHECK_THROW(permuted({0, 1, 3}), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
