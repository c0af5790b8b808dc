#include <boost/test/unit_test.hpp>

#include "framework/config/parse_yaml.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::config;
using kronlab::testing::message_of;

namespace {

std::string error_of(const std::string& text) {
  return message_of([&] { parse_yaml(text, "f.yaml"); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(yaml)

BOOST_AUTO_TEST_CASE(nested_keys_scalars_and_positions_are_read) {
  const auto value = parse_yaml(
      "---\n# a comment\n\nlayers:   # below\r\n    h.1.mlp:\r\n      r: 4  # terms\n      use_p: True\n      use_q: false\n"
      "    'quoted # key': \"a: # text\"\nname: plain text#1  # not this\nminus: -12\nrate: 1e-3\nquoted: '4'\nlist: [1, {a: b}]\n",
      "f.yaml");
  BOOST_TEST(to_text(value) ==
             "{layers = {\"h.1.mlp\" = {r = 4, use_p = true, use_q = false}, \"quoted # key\" = \"a: # text\"}, list = [1, {a = \"b\"}], minus = -12, "
             "name = \"plain text#1\", quoted = \"4\", rate = 0.001}");
  const auto& layers = value.as<Value::Table>()->at("layers");
  BOOST_TEST(layers.position.text() == "f.yaml:4:1");
  BOOST_TEST(layers.as<Value::Table>()->at("h.1.mlp").as<Value::Table>()->at("r").position.text() == "f.yaml:6:7");
  for (const char* nothing : {"", "---\n", "# a comment\n"}) BOOST_TEST(to_text(parse_yaml(nothing, "f")) == "{}");
}

BOOST_AUTO_TEST_CASE(what_is_no_table_or_is_cut_off_is_refused_with_its_place) {
  BOOST_TEST(error_of("a: 1\na: 2\n") == "f.yaml:2:1: key 'a' is there twice, first in line 1");
  BOOST_TEST(error_of("a:\n  b:\n") == "f.yaml:2:3: 'b' has no value");
  BOOST_TEST(error_of("a: 99999999999999999999\n") == "f.yaml:1:4: expected an integer of 64 bits, found 99999999999999999999");
  BOOST_TEST(error_of("- 1\n") == "f.yaml: expected a table of settings, found an array");
  BOOST_TEST(error_of("a: 1\n---\nb: 2\n").find("a second document, expected one") != std::string::npos);
  BOOST_TEST(error_of("? [1]\n: 2\n").find("expected a text as key") != std::string::npos);
  for (const char* bad : {"a: 1\nb\n", "a: 1\n  b: 2\n", "a:\n    b: 2\n  c: 3\n", "a:\n\tb: 2\n", "a: \"b", "a: {b: 1", "a: *x"})
    BOOST_TEST(error_of(bad).starts_with("f.yaml:"), bad << ": " << error_of(bad));
}

BOOST_AUTO_TEST_CASE(a_hostile_text_is_refused_at_once) {
  std::string deep, laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 0; i < 20'000; ++i) deep += "[";
  BOOST_TEST(error_of("a: " + deep).starts_with("f.yaml:"));
  std::string nested = "k: 1\n";
  for (int i = 0; i < 20; ++i) nested = "{k: " + (i == 0 ? std::string("1") : nested) + "}";
  BOOST_TEST(error_of(nested).find("more than 16 levels deep") != std::string::npos, error_of(nested));
  for (int i = 1; i < 12; ++i) {
    std::string item = fmt::format("*a{}", i - 1), items = item;
    for (int j = 0; j < 8; ++j) items += ", " + item;
    laughs += fmt::format("a{}: &a{} [{}]\n", i, i, items);
  }
  BOOST_TEST(error_of(laughs).find("aliases are not read") != std::string::npos, error_of(laughs));
  BOOST_TEST(error_of("a: 1\n" + std::string(100'000, 'x')).size() < 200u);
}

BOOST_AUTO_TEST_SUITE_END()
