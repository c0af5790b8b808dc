#include <boost/test/unit_test.hpp>

#include "tests/analysis/report_fixture.hpp"

using namespace kronlab::testing;

BOOST_AUTO_TEST_SUITE(report_help)

BOOST_AUTO_TEST_CASE(commands_that_follow_export_or_delete_have_help_and_refuse_what_they_do_not_know) {
  const Store store;
  for (const std::string command : {"log", "tail", "export", "gc"}) {
    const Output help = store.raw_report(command + " --help");
    BOOST_TEST(help.exit_code == 0);
    BOOST_TEST(help.out.find("--store") != std::string::npos);
    BOOST_TEST(store.raw_report(command + " --no-such-option").exit_code == 2);
  }
  for (const char* command : {"gc", "tail", "export --metrics x.csv"}) {
    BOOST_TEST(store.report(command).exit_code == 1);
    BOOST_TEST(store.report(command).has("no store of runs"));
  }
}

BOOST_AUTO_TEST_SUITE_END()
