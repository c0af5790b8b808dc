#include <boost/test/unit_test.hpp>

#include "decompositions/kronecker_sum.hpp"
#include "decompositions/permuted.hpp"
#include "decompositions/sum.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "framework/base/hash.hpp"
#include "framework/storage/safetensors.hpp"
#include "tests/decompositions/examples.hpp"
#include "tests/support/random_matrix.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::random_tensor;

namespace {

Factors example() {
  auto sum = std::make_unique<decompositions::KroneckerSum>(
      std::make_unique<decompositions::Dense>(random_tensor({6, 10}, RandomStream(1))),
      random_tensor({2, 2, 4}, RandomStream(2)));
  Factors factors;
  factors["h.0.attn.c_attn[q]"] = decompositions::Permuted(std::move(sum), RandomStream(3).permutation(12), {}).parts();
  std::vector<std::unique_ptr<decompositions::Factorization>> terms;
  terms.push_back(std::make_unique<decompositions::LowRank>(random_tensor({7, 2}, RandomStream(6)), random_tensor({2, 5}, RandomStream(7))));
  terms.push_back(std::make_unique<decompositions::Dense>(random_tensor({7, 5}, RandomStream(8))));
  factors["lm_head"] = decompositions::Sum(std::move(terms)).parts();
  factors["wte"] =
      decompositions::LowRank(random_tensor({7, 2}, RandomStream(4)), random_tensor({2, 5}, RandomStream(5))).parts();
  factors["h.0.mlp.c_fc"] = kronlab::testing::random_sparse(6, 8, {2, 4}, 0, RandomStream(9))->parts();
  factors["h.0.mlp.c_proj"] = decompositions::QuantisedDense(kronlab::testing::random_codes(5, 30, {.bits = 3, .group = 10}, RandomStream(10))).parts();
  return factors;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(factors_file)

BOOST_AUTO_TEST_CASE(factors_come_back_bit_for_bit) {
  const kronlab::testing::TemporaryFolder folder;
  write_factors(folder / "f.safetensors", example());
  const auto again = read_factors(folder / "f.safetensors");
  BOOST_TEST_REQUIRE(again.size() == 5u);
  for (const auto& [layer, parts] : example())
    BOOST_TEST(decompositions::serialise(again.at(layer)) == decompositions::serialise(parts));
}

BOOST_AUTO_TEST_CASE(a_file_cut_anywhere_or_without_structure_is_a_data_error) {
  const kronlab::testing::TemporaryFolder folder;
  write_factors(folder / "f.safetensors", example());
  const std::string whole = read_text_file(folder / "f.safetensors");
  for (std::size_t size = 1; size < whole.size(); size += 7) {
    write_file_atomically(folder / "cut.safetensors", whole.substr(0, size));
    BOOST_CHECK_THROW(read_factors(folder / "cut.safetensors"), DataError);
  }
  storage::write_safetensors(folder / "plain.safetensors", {});
  BOOST_CHECK_THROW(read_factors(folder / "plain.safetensors"), DataError);
  storage::write_safetensors(folder / "bad.safetensors", {}, {{"kronlab.factorizations", "{\"wte\": {\"kind\": 3}}"}});
  BOOST_CHECK_THROW(read_factors(folder / "bad.safetensors"), DataError);
  BOOST_TEST(stored_factors(folder / "nowhere").empty());
}

BOOST_AUTO_TEST_SUITE_END()
