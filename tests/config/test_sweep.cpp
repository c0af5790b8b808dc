#include <boost/test/unit_test.hpp>

#include "framework/config/sweep.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::config;
using kronlab::testing::message_of;

namespace {

std::vector<RunSpec> runs_of(const std::string& sweep, const std::vector<Override>& overrides = {}) {
  return expand_sweep(parse_toml("[experiment]\nname = \"e\"\n[[stage]]\nk = 1\n" + sweep, "f.toml"), overrides);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sweeps)

BOOST_AUTO_TEST_CASE(without_a_sweep_there_is_one_run) {
  const auto runs = runs_of("");
  BOOST_TEST_REQUIRE(runs.size() == 1u);
  BOOST_TEST(runs[0].label == "run");
  BOOST_TEST(runs[0].parameters.empty());
}

BOOST_AUTO_TEST_CASE(variants_zips_grid_and_seeds_are_multiplied_in_a_fixed_sequence) {
  const auto runs = runs_of(R"(
[sweep]
seeds = [0, 1]
"stage.0.k" = [10, 20]
[[sweep.zip]]
"stage.0.x" = [1, 2]
"stage.0.y" = ["a", "b"]
[[sweep.variants]]
name = "one"
[[sweep.variants]]
name = "two"
"stage.0.extra" = { deep = true }
)");
  BOOST_TEST_REQUIRE(runs.size() == 16u);
  BOOST_TEST(runs[0].label == "one x=1 y=a k=10 seed=0");
  BOOST_TEST(runs[1].label == "one x=1 y=a k=10 seed=1");
  BOOST_TEST(runs[2].label == "one x=1 y=a k=20 seed=0");
  BOOST_TEST(runs[15].label == "two x=2 y=b k=20 seed=1");
  BOOST_TEST(to_text(runs[15].config) ==
             "{experiment = {name = \"e\", seed = 1}, stage = [{extra = {deep = true}, k = 20, x = 2, y = \"b\"}]}");
}

BOOST_AUTO_TEST_CASE(overrides_come_before_the_sweep) {
  const auto runs =
      runs_of("[sweep]\nseeds = [0]", {parse_override("stage.0.k=5"), parse_override("sweep.seeds=[3, 4]")});
  BOOST_TEST_REQUIRE(runs.size() == 2u);
  BOOST_TEST(to_text(runs[1].config) == "{experiment = {name = \"e\", seed = 4}, stage = [{k = 5}]}");
  BOOST_CHECK_THROW(parse_override("novalue"), ConfigError);
}

BOOST_AUTO_TEST_CASE(malformed_sweeps_are_errors_with_their_place) {
  BOOST_TEST(message_of([] { runs_of("[sweep]\nseeds = 3"); }).starts_with("f.toml:6:1: sweep: 'seeds'"));
  BOOST_CHECK_THROW(runs_of("[sweep]\nseeds = []"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[sweep]\n\"stage.3.k\" = [1]"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.zip]]\na = [1, 2]\nb = [1]"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.variants]]\na = 1"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.variants]]\nname = \"a\"\n[[sweep.variants]]\nname = \"a\""), ConfigError);
  BOOST_CHECK_THROW(expand_sweep(parse_toml("sweep = 3", "f")), ConfigError);
}

BOOST_AUTO_TEST_SUITE_END()
