#include <boost/test/unit_test.hpp>

#include "framework/config/block_mapping.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::config;
using kronlab::testing::message_of;

namespace {

std::string error_of(const std::string& text) {
  return message_of([&] { parse_block_mapping(text, "f.yaml"); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(block_mappings)

BOOST_AUTO_TEST_CASE(nested_keys_scalars_comments_and_positions_are_read) {
  const auto value = parse_block_mapping(
      "---\n# a comment\n\nlayers:   # below\r\n    h.1.mlp:\r\n      r: 4  # terms\n      use_p: True\n      use_q: "
      "false\n"
      "    'quoted # key': \"a: # text\"\nname: plain text#1  # not this\nminus: -12\nlast:\n  octal: 010\n",
      "f.yaml");
  BOOST_TEST(to_text(value) ==
             "{last = {octal = \"010\"}, layers = {\"h.1.mlp\" = {r = 4, use_p = true, use_q = false}, "
             "\"quoted # key\" = \"a: # text\"}, minus = -12, name = \"plain text#1\"}");
  const auto& layers = value.as<Value::Table>()->at("layers");
  BOOST_TEST(layers.position.text() == "f.yaml:4:1");
  BOOST_TEST(layers.as<Value::Table>()->at("h.1.mlp").as<Value::Table>()->at("r").position.text() == "f.yaml:6:7");
  BOOST_TEST(to_text(parse_block_mapping("", "f")) == "{}");
  BOOST_TEST(to_text(parse_block_mapping("  a: 1\n  b: 2", "f")) == "{a = 1, b = 2}");
}

BOOST_AUTO_TEST_CASE(what_is_no_mapping_or_is_cut_off_is_refused_with_its_place) {
  BOOST_TEST(error_of("a: 1\nb\n") == "f.yaml:2:1: expected 'key: value' or 'key:', found 'b'");
  BOOST_TEST(error_of("a: 1\n: 2\n") == "f.yaml:2:1: expected 'key: value' or 'key:', found ': 2'");
  BOOST_TEST(error_of("a: 1\na: 2\n") == "f.yaml:2:1: key 'a' is there twice, first in line 1");
  BOOST_TEST(error_of("a:\n  b:\n") == "f.yaml:2:3: 'b' has no value");
  BOOST_TEST(error_of("a:\nb: 1\n") == "f.yaml:1:1: 'a' has no value");
  BOOST_TEST(error_of("a: 1\n  b: 2\n") == "f.yaml:2:3: is indented deeper than the line before it, which has a value");
  BOOST_TEST(error_of("a:\n    b: 2\n  c: 3\n") ==
             "f.yaml:3:3: is indented by 2 blanks, which no line before it at its level is");
  BOOST_TEST(error_of("  a: 1\nb: 2\n") ==
             "f.yaml:2:1: is indented by 0 blanks, which no line before it at its level is");
  BOOST_TEST(error_of("a:\n\tb: 2\n") == "f.yaml:2:1: is indented by a tab, expected blanks");
  BOOST_TEST(error_of(std::string("a: 1\nb: x\0y\n", 12)) == "f.yaml:2:5: a control character, 0x00");
  BOOST_TEST(error_of("a: 99999999999999999999\n") ==
             "f.yaml:1:4: expected an integer of 64 bits, found 99999999999999999999");
  BOOST_TEST(error_of("a: 1\n---\nb: 2\n").starts_with("f.yaml:2:1: expected"));
}

BOOST_AUTO_TEST_CASE(other_forms_of_yaml_are_refused) {
  for (const char* text : {"- a: 1", "a: [1, 2]", "a: {b: 1}", "a: &x 1", "a: *x", "a: !!int 1", "a: |\n  text",
                           "a: >\n  text", "? a", "{a: 1}", "a: -", "%YAML 1.2"}) {
    BOOST_TEST(error_of(text).find("lists, flow style, anchors and tags are not read") != std::string::npos,
               text << ": " << error_of(text));
  }
  for (const char* text : {"a: \"b", "a: 'b", "a: \"", "a: \"b\" c", "a: \"b\\n\"", "a: 'it''s'", "\"a: 1"}) {
    const auto error = error_of(text);
    BOOST_TEST((error.find("expected a text in quotes") != std::string::npos ||
                error.find("expected 'key: value'") != std::string::npos),
               text << ": " << error);
  }
}

BOOST_AUTO_TEST_CASE(a_hostile_text_is_refused_at_once) {
  std::string deep, wide = "a: 1\n" + std::string(100'000, 'x');
  for (int i = 0; i < 20'000; ++i) deep += std::string(static_cast<std::size_t>(i % 2'000), ' ') + "k:\n";
  BOOST_TEST(error_of(deep) == "f.yaml:17:17: a table more than 16 levels deep");
  BOOST_TEST(error_of(wide).size() < 200u);
}

BOOST_AUTO_TEST_SUITE_END()
