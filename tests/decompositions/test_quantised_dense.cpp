#include <boost/test/unit_test.hpp>
#include <limits>

#include "framework/linalg/gemm.hpp"
#include "tests/decompositions/examples.hpp"
#include "tests/decompositions/products.hpp"
#include "tests/support/kernel_case.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::bound;
using kronlab::testing::message_of;
using kronlab::testing::random_codes;
using kronlab::testing::random_sparse;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

struct Case {
  Index rows, cols;
  QuantisationGrid grid;
  bool has_order = false;
  SparsePattern pattern{};
  Index num_kept = 0;  ///< 0: all
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Index bits : {8, 4, 3, 2}) {
    const auto add = [&](Index rows, Index cols, Index group, bool symmetric) { all.push_back({rows, cols, {bits, group, symmetric}}); };
    add(1, 1, 0, false);
    add(3, 300, 0, true);     // one group, a tail behind the last chunk
    add(5, 256, 128, false);  // groups of whole chunks
    add(4, 200, 16, true);    // groups of whole registers
    add(3, 576, 64, false);
    add(7, 50, 12, false);  // groups that begin anywhere, and a short one
    add(2, 33, 100, true);  // a group longer than the row
  }
  all.push_back({9, 130, {.bits = 4, .group = 32}, true});
  all.push_back({9, 130, {.bits = 3, .group = 10}, true});
  all.push_back({6, 64, {.bits = 4, .group = 16}, false, {2, 4}, 1});
  all.push_back({6, 65, {.bits = 3, .group = 16}, true, {}, 100});
  return all;
}

std::unique_ptr<QuantisedDense> make(const Case& c) {
  auto content = random_codes(c.rows, c.cols, c.grid, RandomStream(3));
  if (c.has_order) content.order = RandomStream(4).permutation(c.cols);
  if (c.num_kept > 0) content.kept = std::make_shared<const KeptEntries>(random_sparse(c.rows, c.cols, c.pattern, c.num_kept, RandomStream(5))->kept());
  return std::make_unique<QuantisedDense>(std::move(content));
}

/// scale (code - zero), entry after entry.
Matrix<double> reference(const Case& c) {
  const auto content = random_codes(c.rows, c.cols, c.grid, RandomStream(3));
  const auto order = RandomStream(4).permutation(c.cols);
  std::vector<std::uint8_t> kept(content.codes.size(), 1);
  if (c.num_kept > 0) kept = random_sparse(c.rows, c.cols, c.pattern, c.num_kept, RandomStream(5))->kept().flags();
  Matrix<double> w(c.rows, c.cols);
  for (Index i = 0; i < c.rows; ++i) {
    for (Index p = 0; p < c.cols; ++p) {
      const auto at = static_cast<std::size_t>(i * c.cols + p);
      const Index group = i * c.grid.num_groups(c.cols) + (c.grid.group == 0 ? 0 : p / c.grid.group);
      const int zero = c.grid.symmetric ? static_cast<int>(c.grid.num_levels() / 2) : content.zeros[static_cast<std::size_t>(group)];
      const double value = content.scales.values<float>()[static_cast<std::size_t>(group)] * (content.codes[at] - zero);
      w(i, c.has_order ? order[static_cast<std::size_t>(p)] : p) = kept[at] != 0 ? value : 0.0;
    }
  }
  return w;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(quantised_dense)

BOOST_AUTO_TEST_CASE(a_weight_is_its_scales_times_its_codes_less_their_zeros) {
  for (const auto& c : cases()) {
    const auto w = make(c);
    BOOST_TEST(relative_difference(w->to_dense().view(), reference(c).view()) == 0.0);  // 11 bits times 9 bits: exact in float32
  }
}

BOOST_AUTO_TEST_CASE(products_equal_the_dense_ones_for_any_number_of_rows) {
  for (const auto& c : cases()) {
    const auto w = make(c);
    const auto dense = reference(c);
    kronlab::testing::check_products(*w, dense, {1, 2, 3, 7, 16, 70});
  }
}

BOOST_AUTO_TEST_CASE(a_slice_is_some_rows_of_the_product) {
  const auto w = make({70, 130, {.bits = 4, .group = 32}, true});
  for (const Index n : {2, 100}) {
    const Tensor x = random_tensor({n, 130}, RandomStream(5));
    Tensor whole(DType::f32, {n, 70}), part(DType::f32, {n, 31});
    w->apply(x.view(), whole.view());
    w->apply_slice(x.view(), 13, part.view());
    BOOST_TEST(relative_difference(part.view(), whole.view().block(0, 13, n, 31)) < bound(DType::f32, 130));
  }
}

BOOST_AUTO_TEST_CASE(bytes_follow_from_shape_and_grid_and_are_those_of_the_tensors) {
  for (const auto& c : cases()) {
    const auto w = make(c);
    Index bytes = 0;
    for (const auto& [name, tensor] : w->parts().tensors) bytes += tensor.size_bytes();
    BOOST_TEST(w->stored_bytes() == bytes);
    const auto num_kept = c.num_kept > 0 ? std::optional(c.num_kept) : std::nullopt;
    BOOST_TEST(QuantisedDense::stored_bytes_of(c.rows, c.cols, c.grid, c.has_order, num_kept, c.pattern) == bytes);
    const auto again = make_factorization(deserialise(serialise(w->parts())));
    BOOST_TEST(serialise(again->parts()) == serialise(w->parts()));
    BOOST_TEST(relative_difference(again->to_dense().view(), w->to_dense().view()) == 0.0);
  }
  // 3 bits a code, 2 bytes a scale, 3 bits a zero, 4 bytes a column
  BOOST_TEST(QuantisedDense::stored_bytes_of(64, 576, {.bits = 3, .group = 64}, true) == 64 * 576 * 3 / 8 + 64 * 9 * 2 + 64 * 9 * 3 / 8 + 576 * 4);
  BOOST_TEST(QuantisedDense::stored_bytes_of(64, 576, {.bits = 8, .symmetric = true}, false) == 64 * 576 + 64 * 2);
  // 2:4: one bit an entry and four a code of half of them
  BOOST_TEST(QuantisedDense::stored_bytes_of(64, 576, {.bits = 4, .symmetric = true}, false, 0, {2, 4}) == 64 * 576 * 3 / 8 + 64 * 2);
}

BOOST_AUTO_TEST_CASE(scales_that_have_learned_are_stored_as_they_are) {
  auto w = make({3, 32, {.bits = 4, .group = 8}});
  const Index before = w->stored_bytes();
  w->parameters()[0].value->values<float>()[5] = 0.1F;
  BOOST_TEST(w->stored_bytes() == before + 12 * 2);
  const auto again = make_factorization(w->parts());
  BOOST_TEST(again->stored_bytes() == w->stored_bytes());
  BOOST_TEST(relative_difference(again->to_dense().view(), w->to_dense().view()) == 0.0);
}

BOOST_AUTO_TEST_CASE(a_grid_reaches_over_the_values_and_holds_zero) {
  for (const Index bits : {8, 4, 3, 2}) {
    for (const bool symmetric : {false, true}) {
      const QuantisationGrid grid{.bits = bits, .symmetric = symmetric};
      for (const std::vector<double>& values : {std::vector<double>{-1.5, 0.25, 3}, {1, 2}, {-4, -1}, {0, 0}, {1e-9, 0}, {1e9}}) {
        const auto by = scale_by_range(values, grid);
        BOOST_TEST(value_of(by.zero, by) == 0.0);
        BOOST_TEST(rounded_scale(by.scale) == by.scale);
        // Within the range of half precision: half a step, and what zero and scale were rounded by at the ends.
        for (const double value : values) {
          if (std::abs(value) > 1e-6 && std::abs(value) < 1e6)
            BOOST_TEST(std::abs(value_of(nearest_code(value, by, grid), by) - value) <= (symmetric ? 1.01 : 1.2) * by.scale);
        }
      }
    }
  }
  BOOST_TEST(rounded_scale(1e-30) == 0x1p-24F);
  BOOST_TEST(rounded_scale(1e30) == 65504.0F);
  BOOST_CHECK_THROW(rounded_scale(0), ContractError);
}

BOOST_AUTO_TEST_CASE(what_makes_no_quantised_weight_is_refused) {
  const auto refused = [](const auto& damage) {
    auto content = random_codes(3, 20, {.bits = 4, .group = 8}, RandomStream(1));
    damage(content);
    return message_of([&] { QuantisedDense w(std::move(content)); });
  };
  BOOST_TEST(refused([](auto& c) { c.codes.pop_back(); }) == "quantised: 59 codes, expected 60");
  BOOST_TEST(refused([](auto& c) { c.codes[7] = 16; }) == "quantised: code 7 is 16, expected less than 16");
  BOOST_TEST(refused([](auto& c) { c.zeros[3] = 16; }) == "quantised: zero 3 is 16, expected less than 16");
  BOOST_TEST(refused([](auto& c) { c.zeros.clear(); }) == "quantised: 0 zeros, expected 9");
  BOOST_TEST(refused([](auto& c) { c.grid.symmetric = true; }) == "quantised: 9 zeros, expected 0");
  BOOST_TEST(refused([](auto& c) { c.scales = Tensor(DType::f32, {3, 2}); }) == "quantised: 6 scales, expected 9");
  BOOST_TEST(refused([](auto& c) { c.scales.template values<float>()[4] = std::numeric_limits<float>::quiet_NaN(); }) == "quantised: scale 4 is nan, expected a finite number");
  BOOST_TEST(refused([](auto& c) { c.grid.bits = 5; }) == "quantised: 5 bits, expected 8, 4, 3 or 2");
  BOOST_TEST(refused([](auto& c) { c.grid.group = -1; }) == "quantised: groups of -1 columns, expected at least 1, or 0 for a row");
  BOOST_TEST(refused([](auto& c) { c.order = {0, 1}; }) == "quantised: order: 2 entries, expected a permutation of 20");
  BOOST_TEST(refused([](auto& c) { c.kept = std::make_shared<const KeptEntries>(random_sparse(3, 21, {}, 4, RandomStream(1))->kept()); }) ==
             "quantised: 3 x 20 codes with entries of 3 x 21");
  BOOST_CHECK_THROW(QuantisedDense::stored_bytes_of(3, 20, {.bits = 1}, false), ConfigError);
  BOOST_CHECK_THROW(QuantisedDense::stored_bytes_of(3, 20, {}, false, 1, {2, 3}), ConfigError);
}

BOOST_AUTO_TEST_CASE(damaged_parts_are_data_errors) {
  const auto damaged = [](const auto& damage) {
    auto parts = make({3, 20, {.bits = 3, .group = 8}, true})->parts();
    damage(parts);
    return message_of([&] { make_factorization(std::move(parts)); });
  };
  BOOST_TEST(damaged([](auto& p) { p.tensors["codes"] = Tensor(DType::i32, {5}); }) == "quantised codes: 20 bytes, expected 24 for 60 integers of 3 bits");
  BOOST_TEST(damaged([](auto& p) { p.tensors["zeros"] = Tensor(DType::i32, {2}); }) == "quantised zeros: 8 bytes, expected 4 for 9 integers of 3 bits");
  BOOST_TEST(damaged([](auto& p) { p.tensors.erase("scales"); }) == "factorization 'quantised-dense': tensor 'scales' is missing");
  BOOST_TEST(damaged([](auto& p) { p.tensors["scales"] = Tensor(DType::i32, {3, 3}); }) == "quantised: scales of type i32, expected f16 or f32");
  BOOST_TEST(damaged([](auto& p) { p.tensors["order"].template values<std::int32_t>()[0] = 20; }).find("out of range") != std::string::npos);
  BOOST_TEST(damaged([](auto& p) { p.tensors["order"] = Tensor(DType::f32, {20}); }) == "quantised: an order of type f32, expected i32");
  BOOST_TEST(damaged([](auto& p) { p.integers["bits"] = 5; }) == "quantised: 5 bits, expected 8, 4, 3 or 2");
  BOOST_TEST(damaged([](auto& p) { p.integers["rows"] = 0; }) == "quantised: 0 x 20 codes");
  BOOST_TEST(damaged([](auto& p) { p.integers.erase("group"); }) == "factorization 'quantised-dense': integer 'group' is missing");
  BOOST_TEST(damaged([](auto& p) { p.integers["n"] = p.integers["m"] = 0; }) == "factorization 'quantised-dense': tensor 'mask' is missing");
  const std::string bytes = serialise(make({2, 9, {.bits = 2, .group = 4}, true, {}, 5})->parts());
  for (std::size_t length = 0; length < bytes.size(); ++length)
    BOOST_CHECK_THROW(make_factorization(deserialise(std::string_view(bytes).substr(0, length))), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
