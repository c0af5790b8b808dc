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
using kronlab::testing::random_sparse;
using kronlab::testing::random_tensor;
using kronlab::testing::relative_difference;

namespace {

struct Case {
  Index rows, cols;
  SparsePattern pattern;
  Index num_kept;
};

/// Shapes smaller than a register, between whole ones, of one row, with empty rows, and full.
const Case cases[] = {{1, 1, {}, 1},       {1, 37, {}, 5},       {3, 8, {}, 1},          {5, 33, {}, 165},  {7, 300, {}, 1000},  {40, 20, {}, 3}, {3, 4000, {}, 5},
                      {2, 16, {2, 4}, 0},  {9, 40, {4, 8}, 0},   {3, 21, {1, 7}, 0},     {4, 12, {3, 3}, 0}, {130, 96, {2, 4}, 0}, {2, 512, {1, 256}, 0},
                      {70, 130, {}, 4000}, {33, 64, {1, 16}, 0}, {1, 4096, {}, 1000}};

std::unique_ptr<Sparse> make(const Case& c) { return random_sparse(c.rows, c.cols, c.pattern, c.num_kept, RandomStream(3)); }

Sparse from_text(Index rows, std::vector<float> values, SparsePattern pattern) {
  Tensor weight(DType::f32, {rows, static_cast<Index>(values.size()) / rows});
  std::ranges::copy(values, weight.values<float>().begin());
  return {std::as_const(weight).view(), pattern};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sparse)

BOOST_AUTO_TEST_CASE(products_equal_the_dense_ones_for_any_number_of_rows) {
  for (const auto& c : cases) {
    const auto w = make(c);
    const auto dense = to_matrix<double>(w->to_dense().view());
    kronlab::testing::check_products(*w, dense, {1, 2, 3, 7, 16, 65, 200});
  }
}

BOOST_AUTO_TEST_CASE(a_slice_is_some_rows_of_the_product) {
  const auto w = make({70, 130, {}, 4000});
  for (const Index n : {2, 100}) {
    const Tensor x = random_tensor({n, 130}, RandomStream(5));
    Tensor whole(DType::f32, {n, 70}), part(DType::f32, {n, 31});
    w->apply(x.view(), whole.view());
    w->apply_slice(x.view(), 13, part.view());
    BOOST_TEST(relative_difference(part.view(), whole.view().block(0, 13, n, 31)) < bound(DType::f32, 130));
  }
}

BOOST_AUTO_TEST_CASE(bytes_follow_from_shape_pattern_and_count_and_are_those_of_the_tensors) {
  for (const auto& c : cases) {
    const auto w = make(c);
    Index bytes = 0;
    for (const auto& [name, tensor] : w->parts().tensors) bytes += tensor.size_bytes();
    BOOST_TEST(w->stored_bytes() == bytes);
    BOOST_TEST(Sparse::stored_bytes_of(c.rows, c.cols, c.pattern, c.num_kept) == bytes);
    const auto again = make_factorization(deserialise(serialise(w->parts())));
    BOOST_TEST(relative_difference(again->to_dense().view(), w->to_dense().view()) == 0.0);
    BOOST_TEST(serialise(again->parts()) == serialise(w->parts()));
  }
  BOOST_TEST(Sparse::stored_bytes_of(4096, 4096, {2, 4}, 0) == 4096 * 4096 / 2 * 4 + 4096 * 4096 / 8);       // a mask
  BOOST_TEST(Sparse::stored_bytes_of(4096, 4096, {1, 16}, 0) == 4096 * 256 * 4 + 4096 * 256 / 2);            // positions of 4 bits
  BOOST_TEST(Sparse::stored_bytes_of(4096, 4096, {}, 8192) == 8192 * 4 + 8192 * 2 + 4097 * 4);               // columns
  BOOST_TEST(Sparse::stored_bytes_of(4, 100000, {}, 10) == 10 * 4 + 50000);                                  // no columns beyond 16 bits
}

BOOST_AUTO_TEST_CASE(zeros_are_pruned_and_groups_with_few_entries_are_filled_up) {
  const Sparse any = from_text(2, {0, 1, 0, 2, 0, 0, 0, 0}, {});
  BOOST_TEST(any.num_parameters() == 2);
  const Sparse some = from_text(2, {0, 1, 0, 2, 0, 0, 0, 3}, {2, 4});
  BOOST_TEST(some.num_parameters() == 4);
  BOOST_TEST(some.kept().flags() == (std::vector<std::uint8_t>{0, 1, 0, 1, 1, 0, 0, 1}));
  const Tensor dense = some.to_dense();
  BOOST_TEST((std::vector<float>(dense.values<float>().begin(), dense.values<float>().end())) == (std::vector<float>{0, 1, 0, 2, 0, 0, 0, 3}));
}

BOOST_AUTO_TEST_CASE(a_given_mask_keeps_zeros_and_drops_the_rest) {
  Tensor weight(DType::f32, {1, 4});
  weight.values<float>()[0] = 5, weight.values<float>()[3] = 7;
  const std::vector<std::uint8_t> kept{0, 1, 0, 1};
  const Sparse w(std::as_const(weight).view(), std::make_shared<const KeptEntries>(1, 4, SparsePattern{}, kept));
  BOOST_TEST(w.num_parameters() == 2);
  const Tensor dense = w.to_dense();
  BOOST_TEST((std::vector<float>(dense.values<float>().begin(), dense.values<float>().end())) == (std::vector<float>{0, 0, 0, 7}));
}

BOOST_AUTO_TEST_CASE(weights_and_patterns_that_do_not_suit_are_refused) {
  BOOST_TEST(message_of([] { from_text(1, {0, 0, 0}, {}); }) == "sparse: all 1 x 3 entries are pruned");
  BOOST_TEST(message_of([] { from_text(1, {1, 2, 3, 0, 1, 2, 3, 4}, {3, 4}); }) == "sparse: row 0, columns 4 to 7: 4 entries are not zero, at most 3 of 4 may be");
  BOOST_TEST(message_of([] { from_text(1, {1, std::numeric_limits<float>::quiet_NaN()}, {}); }) == "sparse: value 1 is nan, expected a finite number");
  BOOST_TEST(message_of([] { Sparse::stored_bytes_of(2, 10, {2, 4}, 0); }) == "sparse: groups of 2:4 do not divide 10 columns");
  for (const SparsePattern wrong : {SparsePattern{5, 4}, {0, 4}, {1, 0}, {-1, 4}, {1, 512}}) BOOST_CHECK_THROW(Sparse::stored_bytes_of(2, 512, wrong, 0), ConfigError);
  const std::vector<std::uint8_t> three{1, 1, 1, 0};
  BOOST_CHECK_THROW(KeptEntries(1, 4, SparsePattern{2, 4}, three), DataError);
  BOOST_CHECK_THROW(KeptEntries(1, 5, SparsePattern{}, three), DataError);
  BOOST_CHECK_THROW(Sparse(random_tensor({2, 4}, RandomStream(1)).view(), std::make_shared<const KeptEntries>(1, 4, SparsePattern{}, three)), DataError);
  BOOST_CHECK_THROW(Sparse(random_tensor({2}, RandomStream(1)), std::make_shared<const KeptEntries>(1, 4, SparsePattern{}, three)), DataError);
}

BOOST_AUTO_TEST_CASE(damaged_parts_are_data_errors) {
  const auto damaged = [](const Case& c, const auto& damage) {
    auto parts = make(c)->parts();
    damage(parts);
    return message_of([&] { make_factorization(std::move(parts)); });
  };
  const auto words = [](FactorizationParts& parts, const char* name) { return parts.tensors.at(name).values<std::int32_t>(); };
  const Case mask{3, 20, {}, 30}, positions{3, 21, {1, 7}, 0}, columns{3, 4000, {}, 5};
  BOOST_TEST(damaged(mask, [](auto& p) { p.tensors.erase("mask"); }) == "factorization 'sparse': tensor 'mask' is missing");
  BOOST_TEST(damaged(mask, [](auto& p) { p.tensors["mask"] = Tensor(DType::i32, {3}); }) == "sparse mask: 12 bytes, expected 8 for 60 integers of 1 bits");
  BOOST_TEST(damaged(mask, [](auto& p) { p.tensors["mask"] = Tensor(DType::f32, {2}); }) == "sparse mask: packed as f32, expected i32");
  BOOST_TEST(damaged(mask, [&](auto& p) { words(p, "mask")[1] |= 1 << 30; }) == "sparse mask: bits are set behind the last of 60 integers of 1 bits");
  BOOST_TEST(damaged(mask, [&](auto& p) { words(p, "mask")[0] = 0; }).ends_with("entries"));
  BOOST_TEST(damaged(mask, [](auto& p) { p.integers["rows"] = -3; }).find("negative") != std::string::npos);
  BOOST_TEST(damaged(mask, [](auto& p) { p.integers["rows"] = 0; }) == "sparse: 0 x 20 entries");
  BOOST_TEST(damaged(mask, [](auto& p) { p.integers.erase("m"); }) == "factorization 'sparse': integer 'm' is missing");
  BOOST_TEST(damaged(mask, [](auto& p) { p.integers["n"] = 2, p.integers["m"] = 3; }) == "sparse: groups of 2:3 do not divide 20 columns");
  BOOST_TEST(damaged(mask, [](auto& p) { p.integers["n"] = 2, p.integers["m"] = 4; }).find("entries stay, expected 2 of 4") != std::string::npos);
  BOOST_TEST(damaged(mask, [](auto& p) { p.tensors["values"] = Tensor(DType::i32, {30}); }) == "sparse: 30 values of type i32 for 30 entries");
  BOOST_TEST(damaged(positions, [&](auto& p) { words(p, "positions")[0] |= 7; }) == "sparse: position 7 in a group of 7");
  BOOST_TEST(damaged({2, 24, {2, 24}, 0}, [&](auto& p) { words(p, "positions")[0] = 0; }) == "sparse: position 0 behind 0 in a group, expected rising ones");
  BOOST_TEST(damaged(columns, [&](auto& p) { words(p, "columns")[0] = 4000; }).find("column 4000 is out of range or out of sequence") != std::string::npos);
  BOOST_TEST(damaged(columns, [&](auto& p) { words(p, "row_starts")[1] = 7; }) == "sparse: row starts do not rise from 0");
  BOOST_TEST(damaged(columns, [](auto& p) { p.tensors["row_starts"] = Tensor(DType::i32, {3}); }) == "sparse: 3 row starts of type i32, expected 4 of i32");
  BOOST_TEST(damaged(columns, [](auto& p) { p.integers["cols"] = 70000; }) == "sparse: columns in 16 bits of 70000 columns");
}

BOOST_AUTO_TEST_SUITE_END()
