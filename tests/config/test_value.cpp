#include <boost/test/unit_test.hpp>

#include "framework/config/value.hpp"
#include "tests/support/message_of.hpp"

using namespace kronlab;
using namespace kronlab::config;
using kronlab::testing::message_of;

BOOST_AUTO_TEST_SUITE(values)

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back_to_the_same_tree) {
  const Value tree = parse_toml(R"(
a = 1
b = [1.5, -0.0, 1e-300, inf]
"odd key.é" = "tab\t quote\" back\\slash \u0007 end"
t = true
[x]
y = { z = [ { deep = 1 }, 2 ] }
[[s]]
k = "first"
[s.inner]
v = 3
[[s]]
k = "second"
)",
                                "test.toml");
  const Value again = parse_toml(to_toml(tree), "again.toml");
  BOOST_TEST(to_text(again) == to_text(tree));
  BOOST_TEST(to_toml(again) == to_toml(tree));
}

BOOST_AUTO_TEST_CASE(order_of_keys_comments_and_spelling_of_numbers_do_not_matter) {
  const auto text = [](const char* toml) { return to_text(parse_toml(toml, "t")); };
  BOOST_TEST(text("a = 1e-4 # small\nb = 2") == text("b = 2\na = 0.0001"));
  BOOST_TEST(text("a = { b = 1 }") == text("[a]\nb = 1"));
  BOOST_TEST(text("a = 1_000") == text("a = 1000"));
  BOOST_TEST(text("a = 1") != text("a = 2"));
}

BOOST_AUTO_TEST_CASE(bad_syntax_duplicate_keys_and_dates_name_file_line_and_column) {
  BOOST_TEST(message_of([] { parse_toml("a = 1\nb = = 2", "f.toml"); }).starts_with("f.toml:2:5"));
  BOOST_TEST(message_of([] { parse_toml("a = 1\na = 2", "f.toml"); }).starts_with("f.toml:2:"));
  BOOST_TEST(message_of([] { parse_toml("a = 2020-01-01", "f.toml"); }).starts_with("f.toml:1:5: a date"));
  BOOST_CHECK_THROW(parse_toml("[a", "f.toml"), ConfigError);
  BOOST_CHECK_THROW(parse_toml("a = \"\xff\"", "f.toml"), ConfigError);
}

BOOST_AUTO_TEST_CASE(a_path_assigns_through_tables_and_arrays_and_says_where_it_leads_nowhere) {
  Value root = parse_toml("[[stage]]\nk = 1\n[[stage]]\nk = 2", "f");
  assign(root, "stage.1.k", Value(Index{7}));
  assign(root, "new.table.key", Value("v"));
  BOOST_TEST(to_text(root) == "{new = {table = {key = \"v\"}}, stage = [{k = 1}, {k = 7}]}");
  BOOST_TEST(message_of([&] { assign(root, "stage.2.k", Value(Index{7})); }).find("index below 2") !=
             std::string::npos);
  BOOST_CHECK_THROW(assign(root, "stage.x.k", Value(Index{7})), ConfigError);
  BOOST_CHECK_THROW(assign(root, "stage.0.k.deeper", Value(Index{7})), ConfigError);
  BOOST_CHECK_THROW(assign(root, "stage..k", Value(Index{7})), ConfigError);
  BOOST_CHECK_THROW(assign(root, "", Value(Index{7})), ConfigError);
}

BOOST_AUTO_TEST_CASE(a_path_finds_what_is_there_and_nothing_else) {
  const Value root = parse_toml("[[stage]]\nk = 1\nlayers = [\"a\", \"b\"]", "f");
  BOOST_TEST(to_text(*value_at(root, "stage.0.layers.1")) == "\"b\"");
  BOOST_TEST(value_at(root, "") == &root);
  for (const char* path : {"stage.1.k", "stage.x.k", "stage.0.n", "stage.0.k.deeper", "stage..k", "."}) {
    BOOST_TEST(value_at(root, path) == nullptr, path);
  }
  const std::vector<std::string> expected{"stage", "stage.0", "stage.0.k", "stage.0.layers", "stage.0.layers.0", "stage.0.layers.1"};
  BOOST_TEST(paths_of(root) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_too_deep_is_an_error_with_its_place) {
  const auto repeated = [](const std::string& text, int count) {
    std::string all;
    for (int i = 0; i < count; ++i) all += text;
    return all;
  };
  for (const auto& deep : {repeated("a.", 20'000) + "a = 1", "[" + repeated("a.", 20'000) + "a]", "x = " + repeated("[", 20'000), "x = " + repeated("{a = ", 100) + "1" + repeated("}", 100),
                           "x = " + repeated("{a.b.c = ", 30) + "1" + repeated("}", 30), "x = [\n" + repeated("[\n", 70)}) {
    const auto message = message_of([&] { parse_toml("# a comment\n" + deep, "f"); });
    BOOST_TEST(message.find("tables and arrays 64 levels deep") != std::string::npos, message.substr(0, 200));
    BOOST_TEST((message.starts_with("f:2:") || deep.find('\n') != std::string::npos), message.substr(0, 200));
  }
  // Dots and brackets that open nothing.
  const std::string many = repeated("[{.", 100);
  const Value texts = parse_toml("a = '" + many + "' # " + many + "\nb = \"\\\"" + many + "\"\nc = '''\n" + many + "'''\n", "f");
  BOOST_TEST(to_text(texts) == "{a = \"" + many + "\", b = \"\\\"" + many + "\", c = \"" + many + "\"}");
  const Value list = parse_toml("x = [" + repeated("1.5, ", 1000) + "]", "f");
  BOOST_TEST(value_at(list, "x")->as<Value::Array>()->size() == 1000u);
  Value root = parse_toml("", "f");
  BOOST_CHECK_THROW(assign(root, repeated("a.", 64) + "a", Value(Index{1})), ConfigError);
  assign(root, repeated("a.", 63) + "a", Value(Index{1}));
}

BOOST_AUTO_TEST_CASE(a_scalar_of_the_command_line_is_toml_or_else_a_text) {
  BOOST_TEST(to_text(parse_scalar("4", "o")) == "4");
  BOOST_TEST(to_text(parse_scalar("[1, 2]", "o")) == "[1, 2]");
  BOOST_TEST(to_text(parse_scalar("/a/path b", "o")) == "\"/a/path b\"");
  BOOST_TEST(to_text(parse_scalar("1\nvalue2 = 3", "o")) == "\"1\\nvalue2 = 3\"");
}

BOOST_AUTO_TEST_SUITE_END()
