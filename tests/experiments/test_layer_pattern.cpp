#include <boost/test/unit_test.hpp>

#include "experiments/pipeline/layer_pattern.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::experiments;
using kronlab::testing::message_of;

BOOST_AUTO_TEST_SUITE(layer_patterns)

BOOST_AUTO_TEST_CASE(a_star_stays_within_a_part_of_the_name_and_brackets_are_themselves) {
  BOOST_TEST(matches_layer("h.*.mlp.c_fc", "h.3.mlp.c_fc"));
  BOOST_TEST(matches_layer("h.*.mlp.c_fc", "h.11.mlp.c_fc"));
  BOOST_TEST(!matches_layer("h.*.c_fc", "h.3.mlp.c_fc"));
  BOOST_TEST(matches_layer("h.3.attn.c_attn[q]", "h.3.attn.c_attn[q]"));
  BOOST_TEST(!matches_layer("h.3.attn.c_attn[q]", "h.3.attn.c_attnq"));
  BOOST_TEST(matches_layer("h.*.attn.c_attn[*]", "h.3.attn.c_attn[v]"));
  BOOST_TEST(!matches_layer("h.*.mlp.*", "h.3.mlp.c_fc.left"));
  BOOST_TEST(matches_layer("*", "wte"));
  BOOST_TEST(!matches_layer("", "wte"));
}

BOOST_AUTO_TEST_CASE(braces_choose_from_lists_and_ranges) {
  for (const char* name : {"layers.10.mlp.up_proj", "layers.17.mlp.gate_proj"})
    BOOST_TEST(matches_layer("layers.{10..17}.mlp.{up,gate}_proj", name));
  BOOST_TEST(!matches_layer("layers.{10..17}.mlp.{up,gate}_proj", "layers.18.mlp.up_proj"));
  BOOST_TEST(!matches_layer("layers.{10..17}.mlp.{up,gate}_proj", "layers.10.mlp.down_proj"));
  BOOST_CHECK_THROW(matches_layer("h.{1,2.mlp", "h.1.mlp"), ConfigError);
  BOOST_CHECK_THROW(matches_layer("h.{5..1}.mlp", "h.1.mlp"), ConfigError);
  BOOST_CHECK_THROW(matches_layer("h.{a..b}.mlp", "h.1.mlp"), ConfigError);
}

BOOST_AUTO_TEST_CASE(patterns_that_stand_for_too_much_are_refused_at_once) {
  for (const std::string& pattern : {std::string("{0..999}{0..999}.a"), std::string("{0..999999999}"), std::string("{0..99999}{0..99999}{0..99999}"),
                                     std::string("*********"), std::string(2000, 'a')}) {
    BOOST_CHECK_THROW(expect_layer_pattern(pattern), ConfigError);
    BOOST_CHECK_THROW(matches_layer(pattern, "a"), ConfigError);
  }
  expect_layer_pattern("layers.{0..99}.{a,b}.*");
}

BOOST_AUTO_TEST_CASE(selection_keeps_the_sequence_of_the_model_and_names_a_pattern_that_fits_nothing) {
  const std::vector<std::string> names{"wte", "h.0.mlp.c_fc", "h.0.mlp.c_proj", "h.1.mlp.c_fc"};
  BOOST_TEST(select_layers({"h.1.*.*", "wte", "h.{0,1}.mlp.c_fc"}, names) ==
             (std::vector<std::string>{"wte", "h.0.mlp.c_fc", "h.1.mlp.c_fc"}));
  BOOST_TEST(message_of([&] {
               select_layers({"wte", "h.0.mlp.c_fk"}, names);
             }) ==
             "layer pattern 'h.0.mlp.c_fk' matches nothing (did you mean 'h.0.mlp.c_fc'?); layers are wte, "
             "h.0.mlp.c_fc, h.0.mlp.c_proj, h.1.mlp.c_fc");
}

BOOST_AUTO_TEST_SUITE_END()
