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

BOOST_AUTO_TEST_CASE(paths_of_one_name_are_told_apart_in_labels) {
  const auto runs = runs_of("[sweep]\n\"stage.0.a.kind\" = [1]\n\"stage.0.b.kind\" = [2]\n\"stage.0.kind\" = [3]\n\"stage.0.other\" = [4]\n\"kind\" = [5]");
  BOOST_TEST_REQUIRE(runs.size() == 1u);
  BOOST_TEST(runs[0].label == "kind=5 a.kind=1 b.kind=2 0.kind=3 other=4");
}

BOOST_AUTO_TEST_CASE(equal_runs_are_listed_once_and_labels_are_unique) {
  const auto twice = runs_of("[sweep]\nseeds = [0, 1, 0]");
  BOOST_TEST_REQUIRE(twice.size() == 2u);
  BOOST_TEST(twice[1].label == "seed=1");
  const auto alike = runs_of("[sweep]\n\"stage.0.k\" = [1, \"1\"]");
  BOOST_TEST_REQUIRE(alike.size() == 2u);
  BOOST_TEST(alike[0].label == "k=1");
  BOOST_TEST(alike[1].label == "k=1 #2");
}

BOOST_AUTO_TEST_CASE(what_is_put_in_twice_is_one_parameter_with_the_last_value) {
  const auto runs = runs_of("[sweep]\n\"stage.0.k\" = [2]\n[[sweep.variants]]\nname = \"a\"\n\"stage.0.k\" = 1\n\"stage.0.x\" = 3");
  BOOST_TEST_REQUIRE(runs.size() == 1u);
  BOOST_TEST_REQUIRE(runs[0].parameters.size() == 2u);
  BOOST_TEST(runs[0].parameters[0].second == "2");
  BOOST_TEST(runs[0].label == "a k=2");
}

BOOST_AUTO_TEST_CASE(a_sweep_has_at_most_100000_runs) {
  const auto lists = [](const char* entry, int num_lists) {
    std::string text = entry, list;
    for (int i = 0; i < 100; ++i) list += fmt::format("{}, ", i);
    for (int i = 0; i < num_lists; ++i) text += fmt::format("\n\"stage.0.k{}\" = [{}]", i, list);
    return text;
  };
  BOOST_TEST(message_of([&] { runs_of(lists("[sweep]", 3)); }) == "f.toml:5:2: sweep: more than 100000 runs");
  BOOST_TEST(message_of([&] { runs_of(lists("[[sweep.grid]]", 6)); }) == "f.toml:8:1: sweep: grid: more than 100000 runs");
}

BOOST_AUTO_TEST_CASE(a_misspelt_key_of_the_sweep_is_an_error_with_the_nearest) {
  BOOST_TEST(message_of([] { runs_of("[sweep]\nseed = [0, 1]"); }) ==
             "f.toml:6:1: sweep: unknown key 'seed' (did you mean 'seeds'?); known: grid, seeds, variants, zip, and paths");
  BOOST_TEST(message_of([] { runs_of("[[sweep.variant]]\nname = \"a\""); }).starts_with("f.toml:5:9: sweep: unknown key 'variant' (did you mean 'variants'?)"));
  BOOST_TEST(message_of([] { runs_of("[[sweep.zips]]\na = [1]"); }).find("did you mean 'zip'") != std::string::npos);
  BOOST_TEST(message_of([] { runs_of("[[sweep.grids]]\na = [1]"); }).find("did you mean 'grid'") != std::string::npos);
  BOOST_TEST(message_of([] { runs_of("[[sweep.zip]]\nwhne = { a = 1 }\na = [1]"); }) ==
             "f.toml:6:1: sweep: unknown key 'whne' (did you mean 'when'?); known: when, and paths");
  BOOST_TEST(message_of([] { runs_of("[[sweep.variants]]\nnmae = \"a\""); }) ==
             "f.toml:6:1: sweep: unknown key 'nmae' (did you mean 'name'?); known: name, when, and paths");
  BOOST_TEST(runs_of("seed = 3\n[sweep]\n\"stage.0.seed\" = [1, 2]").size() == 2u);
  BOOST_TEST(expand_sweep(parse_toml("seed = 3\n[sweep]\nseed = [1, 2]", "f")).size() == 2u);
}

BOOST_AUTO_TEST_CASE(runs_that_would_not_fit_into_memory_together_are_refused) {
  std::string sweep = "x = [";
  for (int i = 0; i < 1000; ++i) sweep += "1, ";
  sweep += "]\n[sweep]\n";
  for (const char* name : {"a", "b", "c", "d"}) sweep += fmt::format("{} = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n", name);  // 10000 runs of 1000 values
  const auto message = message_of([&] { expand_sweep(parse_toml(sweep, "f.toml")); });
  BOOST_TEST(message.find("more than 1000000 values in all of its runs together") != std::string::npos, message);
}

BOOST_AUTO_TEST_CASE(malformed_sweeps_are_errors_with_their_place) {
  BOOST_TEST(message_of([] { runs_of("[sweep]\nseeds = 3"); }).starts_with("f.toml:6:1: sweep: 'seeds'"));
  BOOST_CHECK_THROW(runs_of("[sweep]\nseeds = []"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[sweep]\n\"stage.3.k\" = [1]"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.zip]]\na = [1, 2]\nb = [1]"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.zip]]\na = 1"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[sweep]\nzip = [1]"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[sweep]\nzip = [{}]"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[sweep]\ngrid = []"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[sweep]\nvariants = [1]"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.variants]]\na = 1"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.variants]]\nname = 1"), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.variants]]\nname = \"\""), ConfigError);
  BOOST_CHECK_THROW(runs_of("[[sweep.variants]]\nname = \"a\"\n[[sweep.variants]]\nname = \"a\""), ConfigError);
  BOOST_CHECK_THROW(expand_sweep(parse_toml("sweep = 3", "f")), ConfigError);
}

BOOST_AUTO_TEST_SUITE_END()
