#include <boost/test/unit_test.hpp>

#include "framework/config/sweep.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::config;
using kronlab::testing::message_of;

namespace {

/// A stage with `decompose = { kind = "svd", rank = 2 }` in lines 1 to 5; the sweep begins in line 6.
std::vector<RunSpec> runs_of(const std::string& sweep, const std::vector<Override>& overrides = {}) {
  return expand_sweep(parse_toml("[experiment]\nname = \"e\"\n[[stage]]\nlayers = [\"wte\"]\ndecompose = { kind = \"svd\", rank = 2 }\n" + sweep, "f.toml"), overrides);
}

using Labels = std::vector<std::string>;

Labels labels_of(const std::string& sweep, const std::vector<Override>& overrides = {}) {
  Labels labels;
  for (const auto& run : runs_of(sweep, overrides)) labels.push_back(run.label);
  return labels;
}

void check_labels(const Labels& found, const Labels& expected) { BOOST_TEST(found == expected, boost::test_tools::per_element()); }

std::string error_of(const std::string& sweep) {
  return message_of([&] { runs_of(sweep); });
}

const std::string kinds = "[sweep]\n\"stage.0.decompose.kind\" = [\"svd\", \"kronecker\"]\n";
const std::string variants = R"([[sweep.variants]]
name = "plain"
[[sweep.variants]]
name = "sums"
"stage.0.decompose" = { kind = "kronecker", num_terms = 1 }
)";

}  // namespace

BOOST_AUTO_TEST_SUITE(conditions)

BOOST_AUTO_TEST_CASE(a_grid_multiplies_the_runs_that_it_applies_to_and_leaves_the_others) {
  const std::string grid = R"([[sweep.grid]]
when = { "stage.0.decompose.kind" = "kronecker" }
"stage.0.decompose.num_terms" = [1, 2, 4]
"stage.0.permute.kind" = ["matching", "anneal"]
)";
  const auto runs = runs_of(kinds + grid);
  BOOST_TEST_REQUIRE(runs.size() == 7u);
  BOOST_TEST(runs[0].label == "decompose.kind=svd");
  BOOST_TEST(runs[1].label == "decompose.kind=kronecker num_terms=1 permute.kind=matching");
  BOOST_TEST(runs[2].label == "decompose.kind=kronecker num_terms=1 permute.kind=anneal");
  BOOST_TEST(runs[6].label == "decompose.kind=kronecker num_terms=4 permute.kind=anneal");
  BOOST_TEST(to_text(*value_at(runs[0].config, "stage.0")) == "{decompose = {kind = \"svd\", rank = 2}, layers = [\"wte\"]}");
  BOOST_TEST(value_at(runs[6].config, "stage.0.decompose.num_terms") != nullptr);
  BOOST_TEST(value_at(runs[6].config, "stage.0.when") == nullptr);
  BOOST_TEST(runs[0].parameters.size() == 1u);
  BOOST_TEST(runs[6].parameters.size() == 3u);
}

BOOST_AUTO_TEST_CASE(a_zip_applies_to_the_variants_of_its_condition) {
  check_labels(labels_of("[sweep]\nseeds = [0, 1]\n" + variants +
                         "[[sweep.zip]]\nwhen = { \"stage.0.decompose.kind\" = \"kronecker\" }\n\"stage.0.x\" = [1, 2]\n\"stage.0.y\" = [3, 4]"),
               {"plain seed=0", "plain seed=1", "sums x=1 y=3 seed=0", "sums x=1 y=3 seed=1", "sums x=2 y=4 seed=0", "sums x=2 y=4 seed=1"});
}

BOOST_AUTO_TEST_CASE(a_variant_is_left_out_where_the_file_with_its_overrides_is_another) {
  const std::string sweep = "[[sweep.variants]]\nname = \"all\"\n\"stage.0.x\" = 1\n[[sweep.variants]]\nname = \"low rank\"\nwhen = { \"stage.0.decompose.rank\" = 2 }\n";
  check_labels(labels_of(sweep), {"all", "low rank"});
  check_labels(labels_of(sweep, {parse_override("stage.0.decompose.rank=3")}), {"all"});
  const std::string none = "[[sweep.variants]]\nname = \"low rank\"\nwhen = { \"stage.0.decompose.rank\" = 3 }\n";
  check_labels(labels_of(none + "[sweep]\nseeds = [0, 1]"), {"seed=0", "seed=1"});
  check_labels(labels_of(none), {"run"});
}

BOOST_AUTO_TEST_CASE(a_condition_may_list_values_and_several_paths_must_agree) {
  const auto with = [](const std::string& when) { return labels_of(variants + "[[sweep.grid]]\nwhen = " + when + "\n\"stage.0.x\" = [1]"); };
  check_labels(with("{ \"stage.0.decompose.kind\" = [\"tensor-train\", \"kronecker\"] }"), {"plain", "sums x=1"});
  check_labels(with("{ \"stage.0.decompose.kind\" = [\"svd\", \"kronecker\"] }"), {"plain x=1", "sums x=1"});
  check_labels(with("{ \"stage.0.decompose.kind\" = \"svd\", \"stage.0.decompose.rank\" = 2 }"), {"plain x=1", "sums"});
  check_labels(with("{ \"stage.0.decompose.kind\" = \"svd\", \"stage.0.decompose.rank\" = 3 }"), {"plain", "sums"});
  check_labels(with("{ \"stage.0.decompose.rank\" = 2.0 }"), {"plain x=1", "sums"});
  check_labels(with("{ \"stage.0.decompose.rank\" = \"2\" }"), {"plain", "sums"});
  check_labels(with("{ \"stage.0.layers\" = [[\"wte\"]] }"), {"plain x=1", "sums x=1"});
}

BOOST_AUTO_TEST_CASE(earlier_entries_are_seen_and_an_entry_does_not_see_itself) {
  const std::string chain = R"([[sweep.grid]]
"stage.0.a" = [1, 2]
[[sweep.grid]]
when = { "stage.0.a" = 2 }
"stage.0.a" = [5, 6]
"stage.0.b" = [1, 2]
)";
  const auto runs = runs_of(chain);
  BOOST_TEST_REQUIRE(runs.size() == 5u);
  BOOST_TEST(runs[0].label == "a=1");
  BOOST_TEST(runs[1].label == "a=2 a=5 b=1");
  BOOST_TEST(to_text(*value_at(runs[4].config, "stage.0.a")) == "6");
}

BOOST_AUTO_TEST_CASE(runs_that_conditions_make_equal_are_listed_once) {
  check_labels(labels_of(variants + "[[sweep.grid]]\nwhen = { \"stage.0.decompose.kind\" = \"kronecker\" }\n\"stage.0.decompose\" = [{ kind = \"svd\", rank = 2 }, { kind = \"svd\", rank = 3 }]"),
               {"plain", "sums decompose={kind = \"svd\", rank = 3}"});
}

BOOST_AUTO_TEST_CASE(labels_are_unique_where_a_name_looks_like_an_entry) {
  const std::string alike = "[[sweep.variants]]\nname = \"a\"\n[[sweep.variants]]\nname = \"a x=1\"\n\"stage.0.decompose.kind\" = \"other\"\n";
  check_labels(labels_of(alike + "[[sweep.zip]]\nwhen = { \"stage.0.decompose.kind\" = \"svd\" }\n\"stage.0.x\" = [1]"), {"a x=1", "a x=1 #2"});
}

BOOST_AUTO_TEST_CASE(a_path_that_no_run_has_is_an_error_with_the_nearest) {
  const auto with = [](const std::string& path) { return error_of("[[sweep.zip]]\nwhen = { \"" + path + "\" = 1 }\n\"stage.0.x\" = [1]"); };
  BOOST_TEST(with("stage.0.decompose.knid") == "f.toml:7:10: sweep: when: no run has 'stage.0.decompose.knid' (did you mean 'stage.0.decompose.kind'?)");
  BOOST_TEST(with("stage.1.decompose.kind").find("did you mean 'stage.0.decompose.kind'") != std::string::npos);
  BOOST_TEST(with("data").ends_with("no run has 'data'"));
  BOOST_TEST(error_of("[[sweep.variants]]\nname = \"a\"\nwhen = { \"stage.0.rnak\" = 1 }").starts_with("f.toml:8:10: sweep: when: no run has 'stage.0.rnak'"));
  // of some runs is enough
  check_labels(labels_of(variants + "[[sweep.zip]]\nwhen = { \"stage.0.decompose.num_terms\" = 1 }\n\"stage.0.x\" = [1]"), {"plain", "sums x=1"});
}

BOOST_AUTO_TEST_CASE(a_condition_on_what_a_later_entry_sets_is_an_error) {
  const std::string when = "when = { \"stage.0.decompose.kind\" = \"kronecker\" }\n";
  const std::string expected = "f.toml:9:10: sweep: when: 'stage.0.decompose.kind' is set only later, at f.toml:7:1; first come variants, then zip, the keys of [sweep], grid, seeds";
  BOOST_TEST(error_of(kinds + "[[sweep.zip]]\n" + when + "\"stage.0.x\" = [1]").starts_with(expected.substr(0, 80)));
  BOOST_TEST(error_of(kinds + "[[sweep.variants]]\nname = \"a\"\n" + when).find("is set only later") != std::string::npos);
  BOOST_TEST(error_of("[sweep]\n\"stage.0.decompose\" = [{ kind = \"svd\" }]\n[[sweep.zip]]\n" + when + "\"stage.0.x\" = [1]").find("is set only later") != std::string::npos);
  BOOST_TEST(error_of("[sweep]\nseeds = [1]\n[[sweep.zip]]\nwhen = { \"experiment\" = 1 }\n\"stage.0.x\" = [1]").find("is set only later") != std::string::npos);
  BOOST_TEST(runs_of("[sweep]\n\"stage.0.decompose.kinds\" = [1]\n[[sweep.zip]]\n" + when + "\"stage.0.x\" = [1]").size() == 1u);
}

BOOST_AUTO_TEST_CASE(malformed_conditions_are_errors_with_their_place) {
  const auto with = [](const std::string& when) { return error_of("[[sweep.zip]]\nwhen = " + when + "\n\"stage.0.x\" = [1]"); };
  BOOST_TEST(with("3") == "f.toml:7:1: sweep: when: expected a table of paths and values, found 3");
  BOOST_TEST(with("{}") == "f.toml:7:1: sweep: when: expected a table of paths and values, found {}");
  BOOST_TEST(with("{ \"stage.0.decompose.kind\" = [] }") == "f.toml:7:10: sweep: when: 'stage.0.decompose.kind': the list is empty");
  BOOST_TEST(with("{ \"\" = 1 }") == "f.toml:7:10: sweep: when: a path is empty");
  BOOST_TEST(with("{ stage.0.decompose.kind = \"svd\" }").starts_with("f.toml:7:10: sweep: when: 'stage': expected a value or a list of values, found {0 = "));
  BOOST_TEST(with("{ \"stage.0.decompose\" = [{ kind = \"svd\" }] }").find("a path is one key in quotes") != std::string::npos);
  BOOST_TEST(error_of("[sweep]\nwhen = { \"experiment.name\" = \"e\" }") == "f.toml:7:1: sweep: 'when' belongs into an entry of variants, zip or grid");
  BOOST_TEST(error_of("[[sweep.zip]]\nwhen = { \"experiment.name\" = \"e\" }") == "f.toml:6:1: sweep: zip: expected a table of lists, found {when = {\"experiment.name\" = \"e\"}}");
  BOOST_CHECK_THROW(runs_of("[[sweep.zip]]\nwhen = 3\n\"stage.0.x\" = [1]"), ConfigError);
}

BOOST_AUTO_TEST_SUITE_END()
