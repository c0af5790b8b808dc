#include <boost/test/unit_test.hpp>
#include <limits>

#include "decompositions/monarch_decomposer.hpp"
#include "decompositions/mpo_decomposer.hpp"
#include "decompositions/quantised.hpp"
#include "decompositions/quantised_decomposer.hpp"
#include "decompositions/registry.hpp"
#include "decompositions/sum_decomposer.hpp"
#include "tests/decompositions/configured.hpp"
#include "tests/decompositions/examples.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::examples;
using kronlab::testing::message_of;
using kronlab::testing::random_kronecker;
using kronlab::testing::random_sparse;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

std::unique_ptr<Decomposer> svd() { return make_svd_decomposer({.truncation = 5, .keep = {}}); }
std::unique_ptr<Decomposer> kronecker() { return make_kronecker_decomposer({.left_rows = 6, .left_cols = 5, .num_terms = 3}); }
std::unique_ptr<Decomposer> mpo() { return make_mpo_decomposer({.row_factors = {3, 4}, .col_factors = {4, 5}, .bond_dimension = 6}); }
std::unique_ptr<Decomposer> monarch() { return make_monarch_decomposer({.left_blocks = 3, .right_blocks = 4, .num_terms = 2, .keep = {}}); }
std::unique_ptr<Decomposer> sum() {
  SumOptions options;
  options.parts.push_back({svd(), {}});
  options.parts.push_back({kronecker(), {}});
  return make_sum_decomposer(std::move(options));
}

std::unique_ptr<Decomposer> quantised(std::unique_ptr<Decomposer> inner, QuantisationGrid grid) {
  return make_quantised_decomposer({grid, std::move(inner)});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(quantised_factors)

BOOST_AUTO_TEST_CASE(each_number_of_a_factor_is_rounded_within_its_group) {
  const LowRank inner(random_tensor({12, 3}, RandomStream(1)), random_tensor({3, 20}, RandomStream(2)));
  for (const QuantisationGrid grid : {QuantisationGrid{8, 0, true}, {4, 7, false}, {3, 64, true}, {2, 0, false}}) {
    const auto rounded = [&](const char* name) {
      const auto parts = inner.parts();
      const auto values = to_matrix<double>(parts.tensors.at(name).view());
      Tensor result(DType::f32, {values.rows(), values.cols()});
      const Index group = grid.group == 0 ? values.cols() : grid.group;
      for (Index first = 0; first < values.size(); first += group) {
        const std::span some(values.data() + first, static_cast<std::size_t>(std::min(group, values.size() - first)));
        const auto by = scale_by_range(some, grid);
        for (std::size_t i = 0; i < some.size(); ++i)
          result.values<float>()[static_cast<std::size_t>(first) + i] = static_cast<float>(value_of(nearest_code(some[i], by, grid), by));
      }
      return result;
    };
    const Quantised w(inner, grid);
    BOOST_TEST(relative_difference(w.to_dense().view(), LowRank(rounded("left"), rounded("right")).to_dense().view()) == 0.0);
    BOOST_TEST(w.num_parameters() == 96);
    BOOST_TEST(w.stored_bytes() == Quantised::factor_bytes(12, 3, grid) + Quantised::factor_bytes(3, 20, grid));
  }
  // 36 codes of 4 bits in 5 words, 6 scales of 2 bytes, 6 zeros of 4 bits in a word
  BOOST_TEST(Quantised::factor_bytes(12, 3, {4, 7, false}) == 20 + 12 + 4);
}

BOOST_AUTO_TEST_CASE(every_factorization_with_factors_can_be_held_in_few_bits) {
  Index num_tried = 0;
  for (const auto& inner : examples()) {
    const auto kind = inner->parts().kind;
    if (kind == "sparse" || kind == "quantised-dense") {
      BOOST_TEST(message_of([&] { Quantised(*inner, {4, 16, false}); }) == fmt::format("quantised: '{}' has no factor with two extents", kind));
      continue;
    }
    const Quantised w(*inner, {8, 16, false});
    // Each of at most four factors in a product is off by half a step of 1/255 of a range of some four times its size.
    BOOST_TEST(relative_difference(w.to_dense().view(), inner->to_dense().view()) < 4 * 4 * 0.5 / 255);
    BOOST_TEST(w.stored_bytes() < inner->stored_bytes());
    const auto again = make_factorization(deserialise(serialise(w.parts())));
    BOOST_TEST(serialise(again->parts()) == serialise(w.parts()));
    BOOST_TEST(again->stored_bytes() == w.stored_bytes());
    BOOST_TEST(relative_difference(again->to_dense().view(), w.to_dense().view()) == 0.0);
    BOOST_TEST(relative_difference(w.copy()->to_dense().view(), w.to_dense().view()) == 0.0);
    ++num_tried;
  }
  BOOST_TEST(num_tried > 10);
}

BOOST_AUTO_TEST_CASE(it_does_not_learn_and_hands_the_gradient_of_its_input_on) {
  Quantised w(*random_kronecker(2, 6, 5, 2, 4, RandomStream(1)), {4, 16, false});
  BOOST_TEST(w.parameters().empty());
  const Tensor x = random_tensor({3, 20}, RandomStream(2)), dy = random_tensor({3, 12}, RandomStream(3));
  Tensor dx(DType::f32, {3, 20}), expected(DType::f32, {3, 20});
  w.backward(x.view(), dy.view(), {}, dx.view());
  w.apply_adjoint(dy.view(), expected.view());
  BOOST_TEST(relative_difference(dx.view(), expected.view()) == 0.0);
  const TensorView views[] = {dx.view()};
  BOOST_CHECK_THROW(w.backward(x.view(), dy.view(), views, std::nullopt), ContractError);
}

BOOST_AUTO_TEST_CASE(its_size_is_known_before_any_weight) {
  const Tensor weight = random_tensor({12, 20}, RandomStream(4));
  double error_before = 0;
  for (const QuantisationGrid grid : {QuantisationGrid{8, 16, false}, {4, 16, true}, {3, 0, false}, {2, 100, false}}) {
    double error = 0;
    for (const auto make : {svd, kronecker, mpo, monarch, sum}) {
      const auto decomposer = quantised(make(), grid);
      const auto size = decomposer->size_of("wte", 12, 20);
      const auto result = decomposer->decompose("wte", weight.view(), {});
      BOOST_TEST(result.factorization->stored_bytes() == size.stored_bytes);
      BOOST_TEST(result.factorization->num_parameters() == size.num_parameters);
      BOOST_TEST(result.relative_error >= make()->decompose("wte", weight.view(), {}).relative_error);
      error += result.relative_error;
    }
    BOOST_TEST(error > error_before);
    error_before = error;
  }
}

BOOST_AUTO_TEST_CASE(a_table_names_what_is_inside) {
  const auto found = kronlab::testing::configured(R"(kind = "quantised"
bits = 3
group = 16
symmetric = true
inner = { kind = "svd", truncation = 5 })");
  BOOST_TEST(found->size_of("wte", 12, 20).stored_bytes == quantised(svd(), {3, 16, true})->size_of("wte", 12, 20).stored_bytes);
  BOOST_TEST(message_of([&] { kronlab::testing::configured("kind = \"quantised\"\nbits = 5\ninner = { kind = \"svd\", truncation = 5 }"); }).find("5 bits, expected 8, 4, 3 or 2") !=
             std::string::npos);
  BOOST_TEST(message_of([&] { kronlab::testing::configured("kind = \"quantised\""); }).find("inner") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_held_in_few_bits_is_refused) {
  BOOST_TEST(message_of([] { quantised(svd(), {.bits = 5}); }) == "quantised: 5 bits, expected 8, 4, 3 or 2");
  BOOST_TEST(message_of([] { quantised(quantised(svd(), {}), {})->size_of("wte", 12, 20); }) == "quantised: 'quantised' has no factors that can be held in few bits (`wte`)");
  const Quantised once(Dense(random_tensor({3, 4}, RandomStream(1))), {});
  BOOST_TEST(message_of([&] { Quantised(once, {}); }) == "quantised: a factorization inside is quantised already");
  Tensor weight(DType::f32, {1, 2});
  weight.values<float>()[1] = std::numeric_limits<float>::infinity();
  BOOST_TEST(message_of([&] { Quantised(Dense(std::move(weight)), {}); }) == "quantised: 'weight' has a number inf, expected finite ones");
}

BOOST_AUTO_TEST_CASE(damaged_parts_are_data_errors) {
  const auto damaged = [](const auto& damage) {
    auto parts = Quantised(Dense(random_tensor({3, 20}, RandomStream(1))), {4, 8, false}).parts();
    damage(parts, parts.children.at("inner"));
    return message_of([&] { make_factorization(std::move(parts)); });
  };
  BOOST_TEST(damaged([](auto& p, auto&) { p.integers["bits"] = 7; }) == "quantised: 7 bits, expected 8, 4, 3 or 2");
  BOOST_TEST(damaged([](auto& p, auto&) { p.children.clear(); }) == "factorization 'quantised': part 'inner' is missing");
  BOOST_TEST(damaged([](auto&, auto& inner) { inner.tensors["weight.codes"] = Tensor(DType::i32, {7}); }) == "quantised codes: 28 bytes, expected 32 for 60 integers of 4 bits");
  BOOST_TEST(damaged([](auto&, auto& inner) { inner.tensors["weight.scales"] = Tensor(DType::f16, {7}); }) == "quantised: 'weight' has 7 scales of type f16, expected 8 of f16");
  BOOST_TEST(damaged([](auto&, auto& inner) { inner.tensors.at("weight.scales").template values<float16>()[0].bits = 0x7c00; }) ==
             "quantised: 'weight' has a scale inf, expected a finite one");
  BOOST_TEST(damaged([](auto&, auto& inner) { inner.tensors.erase("weight.zeros"); }) == "factorization 'dense': tensor 'weight.zeros' is missing");
  BOOST_TEST(damaged([](auto&, auto& inner) { inner.integers.erase("weight.extent1"); }) == "quantised: 'weight' has 1 extents, expected two or more");
  BOOST_TEST(damaged([](auto&, auto& inner) { inner.integers["weight.extent0"] = -3; }) == "quantised: 'weight' has an extent of -3");
  const std::string bytes = serialise(Quantised(*random_kronecker(1, 2, 2, 2, 2, RandomStream(1)), {3, 2, false}).parts());
  for (std::size_t length = 0; length < bytes.size(); ++length)
    BOOST_CHECK_THROW(make_factorization(deserialise(std::string_view(bytes).substr(0, length))), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
