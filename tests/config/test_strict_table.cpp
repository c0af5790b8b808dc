#include <boost/test/unit_test.hpp>

#include "framework/config/registry.hpp"
#include "framework/config/strict_table.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::config;
using kronlab::testing::message_of;

namespace {

StrictTable table_of(const char* toml) { return StrictTable(parse_toml(toml, "f.toml")); }

}  // namespace

BOOST_AUTO_TEST_SUITE(strict_table)

BOOST_AUTO_TEST_CASE(a_misspelt_key_is_an_error_with_its_place_the_known_keys_and_the_nearest) {
  const auto root = table_of("[decompose]\nkind = \"svd\"\n  rnak = 3");
  const auto table = root.table("decompose");
  table.text("kind");
  table.find_integer("rank");
  BOOST_TEST(message_of([&] { root.finish(); }) ==
             "f.toml:3:3: unknown key 'decompose.rnak' (did you mean 'rank'?); known: kind, rank");
}

BOOST_AUTO_TEST_CASE(types_limits_and_missing_keys_are_errors_that_say_what_was_expected_and_found) {
  const auto root = table_of("a = \"x\"\nb = 0\nc = [1, \"y\"]\nd = nan\nempty = []\nnumbr = 2");
  BOOST_TEST(message_of([&] { root.integer("a"); }) == "f.toml:1:1: a: expected an integer, found a text (\"x\")");
  BOOST_TEST(message_of([&] { root.integer("b", {.least = 1}); }) == "f.toml:2:1: b: is 0, expected at least 1");
  BOOST_TEST(message_of([&] { root.integer("b", {.least = 1, .most = 4}); }) == "f.toml:2:1: b: is 0, expected 1 to 4");
  BOOST_CHECK_THROW(root.integers("c"), ConfigError);
  BOOST_CHECK_THROW(root.number("d"), ConfigError);
  BOOST_CHECK_THROW(root.texts("empty"), ConfigError);
  BOOST_CHECK_THROW(root.table("a"), ConfigError);
  BOOST_CHECK_THROW(root.tables("b"), ConfigError);
  BOOST_TEST(message_of([&] { root.number("number"); }).find("is missing (did you mean 'numbr'?)") !=
             std::string::npos);
  BOOST_TEST(message_of([&] { root.choice("a", {"y", "z"}); }).find("known: y, z") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(resolved_holds_all_that_was_read_with_defaults_and_reads_back_the_same) {
  const auto read = [](const StrictTable& root) {
    root.text("name");
    root.integer("count", 3);
    root.number("rate", 1);
    for (const auto& stage : root.tables("stage")) stage.table("inner").flag("on", true);
    root.finish();
    return to_text(root.resolved());
  };
  const auto root = table_of("name = \"n\"\n[[stage]]\ninner = {}\n[[stage]]\n[stage.inner]\non = false");
  const std::string once = read(root);
  BOOST_TEST(once == "{count = 3, name = \"n\", rate = 1.0, stage = [{inner = {on = true}}, {inner = {on = false}}]}");
  BOOST_TEST(read(StrictTable(parse_toml(to_toml(root.resolved()), "again"))) == once);
}

BOOST_AUTO_TEST_CASE(a_registry_makes_what_the_kind_names_and_lists_what_is_known) {
  struct Shape {
    Index corners = 0;
  };
  const Registry<Shape> registry{
      {"triangle", [](const StrictTable&) { return std::make_unique<Shape>(Shape{3}); }},
      {"polygon", [](const StrictTable& t) { return std::make_unique<Shape>(Shape{t.integer("corners")}); }}};
  BOOST_TEST(registry.make(table_of("kind = \"polygon\"\ncorners = 7"))->corners == 7);
  BOOST_TEST(message_of([&] { registry.make(table_of("kind = \"poligon\"")); }) ==
             "f.toml:1:1: kind: unknown 'poligon' (did you mean 'polygon'?); known: polygon, triangle");
}

BOOST_AUTO_TEST_SUITE_END()
