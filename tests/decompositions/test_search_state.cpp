#include <boost/test/unit_test.hpp>
#include <stdexcept>

#include "decompositions/permutation/search_state.hpp"
#include "framework/base/error.hpp"
#include "tests/support/random_matrix.hpp"

using namespace kronlab;
using namespace kronlab::decompositions;
using kronlab::testing::random_tensor;

namespace {

struct Killed : std::runtime_error {
  Killed() : std::runtime_error("killed") {}
};

/// Keeps the last state in memory; "kills" the process after some saves.
class MemoryStore final : public SearchStateStore {
 public:
  explicit MemoryStore(int saves_to_live = 1000) : left_(saves_to_live) { every_s = 0; }
  std::optional<std::string> load() override { return state_; }
  void save(const std::string& state) override {
    state_ = state;
    if (--left_ == 0) throw Killed();
  }
  void set(std::string state) { state_ = std::move(state); }
  void live() { left_ = 1000; }

 private:
  std::optional<std::string> state_;
  int left_;
};

void expect_same(const SearchResult& a, const SearchResult& b) {
  BOOST_TEST(a.rows == b.rows);
  BOOST_TEST(a.columns == b.columns);
  BOOST_TEST(a.value == b.value);
  BOOST_TEST(a.start_value == b.start_value);
  BOOST_TEST(a.evaluated == b.evaluated);
  BOOST_TEST(a.accepted == b.accepted);
  BOOST_TEST(a.convergence.num_iterations == b.convergence.num_iterations);
  BOOST_REQUIRE(a.curve.size() == b.curve.size());
  for (std::size_t i = 0; i < a.curve.size(); ++i) {
    BOOST_TEST(a.curve[i].value == b.curve[i].value);
    BOOST_TEST(a.curve[i].evaluations == b.curve[i].evaluations);
  }
}

const GroupingProblem problem{2, 4, 4};

}  // namespace

BOOST_AUTO_TEST_SUITE(search_state)

BOOST_AUTO_TEST_CASE(a_search_that_was_killed_anywhere_ends_as_one_that_was_not) {
  const Tensor w = random_tensor({32, 48}, RandomStream(1));
  const AnnealOptions options{.num_temperatures = 6, .num_sweeps = 2};
  for (const auto& search : {make_anneal_search(options), make_portfolio_search(options)}) {
    const auto expected = search->search("w", w.view(), problem, RandomStream(7));
    for (int saves = 1; saves <= 7; ++saves) {  // the last save is the result
      MemoryStore store(saves);
      BOOST_CHECK_THROW(search->search("w", w.view(), problem, RandomStream(7), {}, &store), Killed);
      store.live();
      expect_same(search->search("w", w.view(), problem, RandomStream(7), {}, &store), expected);
      expect_same(search->search("w", w.view(), problem, RandomStream(7), {}, &store), expected);  // the kept result
    }
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_state_or_that_of_another_search_is_not_taken) {
  const Tensor w = random_tensor({32, 48}, RandomStream(1)), other = random_tensor({32, 48}, RandomStream(2));
  const auto search = make_anneal_search({.num_temperatures = 3, .num_sweeps = 1});
  const auto expected = search->search("w", w.view(), problem, RandomStream(7));
  MemoryStore of_other;
  search->search("w", other.view(), problem, RandomStream(7), {}, &of_other);
  expect_same(search->search("w", w.view(), problem, RandomStream(7), {}, &of_other), expected);
  const std::string whole = *of_other.load();
  for (const std::string& damaged : {std::string(), std::string("{"), std::string("[]"), std::string("{\"search\": 3}"), whole.substr(0, whole.size() / 2)}) {
    MemoryStore store;
    store.set(damaged);
    expect_same(search->search("w", w.view(), problem, RandomStream(7), {}, &store), expected);
  }
}

BOOST_AUTO_TEST_CASE(saved_orders_that_are_no_permutations_are_not_taken) {
  const Tensor w = random_tensor({32, 48}, RandomStream(1));
  const auto search = make_anneal_search({.num_temperatures = 3, .num_sweeps = 1});
  const auto expected = search->search("w", w.view(), problem, RandomStream(7));
  for (const int saves : {1, 4}) {  // the annealing, the result
    MemoryStore store(saves);
    BOOST_CHECK_THROW(search->search("w", w.view(), problem, RandomStream(7), {}, &store), Killed);
    std::string state = *store.load();
    const auto rows = state.rfind("\"rows\":[");
    state.replace(rows, 8, "\"rows\":[99,");
    store.set(state);
    store.live();
    expect_same(search->search("w", w.view(), problem, RandomStream(7), {}, &store), expected);
  }
}

BOOST_AUTO_TEST_CASE(a_result_reads_back_as_it_was_written) {
  const Tensor w = random_tensor({8, 16}, RandomStream(3));
  auto result = make_norm_sort_search()->search("w", w.view(), problem, RandomStream(1));
  result.bound = 0.1 + 0.2;
  const auto read = deserialise_search_result(serialise(result));
  expect_same(read, result);
  BOOST_TEST(*read.bound == *result.bound);
  BOOST_CHECK_THROW(deserialise_search_result("{}"), DataError);
  BOOST_CHECK_THROW(deserialise_search_result("{\"rows\": [1"), DataError);
}

BOOST_AUTO_TEST_SUITE_END()
