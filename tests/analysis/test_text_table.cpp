#include <boost/test/unit_test.hpp>
#include <limits>

#include "analysis/text_table.hpp"
#include "framework/base/error.hpp"

using namespace kronlab::analysis;
using Align = TextTable::Align;
using Format = TextTable::Format;

BOOST_AUTO_TEST_SUITE(text_table)

BOOST_AUTO_TEST_CASE(aligns_columns_by_characters_not_bytes) {
  const TextTable table{{{"label"}, {"value", Align::right}}, {{"größe", "1 ± 2"}, {"b", "10"}}};
  BOOST_TEST(table.print(Format::text) ==
             "label  value\n"
             "-----  -----\n"
             "größe  1 ± 2\n"
             "b         10\n");
}

BOOST_AUTO_TEST_CASE(escapes_what_markdown_and_csv_would_misread) {
  const TextTable table{{{"a|b"}, {"n", Align::right}}, {{"x \"y\", z", "1"}, {"two\nlines", "2"}}};
  BOOST_TEST(table.print(Format::markdown) ==
             "| a\\|b      |   n |\n"
             "| --------- | --: |\n"
             "| x \"y\", z  |   1 |\n"
             "| two lines |   2 |\n");
  BOOST_TEST(table.print(Format::csv) == "a|b,n\n\"x \"\"y\"\", z\",1\n\"two\nlines\",2\n");
}

BOOST_AUTO_TEST_CASE(refuses_a_row_of_another_length) {
  const TextTable table{{{"a"}, {"b"}}, {{"1"}}};
  BOOST_CHECK_THROW(table.print(Format::text), kronlab::ContractError);
}

BOOST_AUTO_TEST_CASE(writes_counts_and_bytes_for_readers) {
  const double infinity = std::numeric_limits<double>::infinity();
  BOOST_TEST(format_count(0) == "0");
  BOOST_TEST(format_count(999) == "999");
  BOOST_TEST(format_count(1000) == "1,000");
  BOOST_TEST(format_count(124439808) == "124,439,808");
  BOOST_TEST(format_count(-1234567) == "-1,234,567");
  BOOST_TEST(format_count(2.5) == "2.5");
  BOOST_TEST(format_count(infinity) == "inf");
  BOOST_TEST(format_bytes(999) == "999 B");
  BOOST_TEST(format_bytes(98362432) == "98.4 MB");
  BOOST_TEST(format_bytes(2e12) == "2.0 TB");
}

BOOST_AUTO_TEST_SUITE_END()
