#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <sstream>

#include "framework/base/text_table.hpp"
#include "tests/analysis/report_fixture.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(report_list)

BOOST_AUTO_TEST_CASE(list_ends_with_the_newest_run_and_the_totals) {
  const Store store;
  finished_run(store.path, labelled("first", "1"), 31.5);
  finished_run(store.path, labelled("second", "1"), 31.5);
  RunStore::create(store.path, labelled("newest", "1")).set_state(RunState::failed, "no such model");
  std::filesystem::create_directories(store.path + "/runs/0-broken");
  const auto lines = lines_of(store.report("list").out);
  BOOST_REQUIRE(lines.size() == 2 + 4 + 2u);
  BOOST_TEST(lines[2].find("broken") != std::string::npos);
  BOOST_TEST(lines[3].find("first") != std::string::npos);
  BOOST_TEST(lines[5].find("newest") != std::string::npos);
  BOOST_TEST(lines.back().starts_with("4 runs: 1 broken, 2 done, 1 failed; 23 s of work"), lines.back());
  BOOST_TEST(store.report("list --state failed").has("1 run: 1 failed; "));
}

BOOST_AUTO_TEST_CASE(list_cuts_long_labels_to_the_width_and_nothing_in_a_file) {
  const Store store;
  const std::string label = "permuted kronecker, schön weighted, " + std::string(100, 'x');
  const std::string id = finished_run(store.path, labelled(label, "1"), 31.5);
  BOOST_TEST(store.report("list").has(label));
  const Output cut = store.report("list --width 150");
  for (const auto& line : lines_of(cut.out)) BOOST_TEST(display_width(line) <= 150u, line);
  BOOST_TEST(cut.has(id));
  BOOST_TEST(cut.has("permuted kroneck"));
  BOOST_TEST(cut.has("…"));
  BOOST_TEST(cut.has("perplexity 31.5 on prose"));
  const Output narrow = store.report("list --width 20");  // what says something stays
  BOOST_TEST(narrow.has(id));
  BOOST_TEST(narrow.has("permuted kronec…"));
  BOOST_TEST(narrow.has("perplexity 31.5 on pr…"));
  BOOST_TEST(store.report("list --width -1").exit_code == 2);
}

BOOST_AUTO_TEST_SUITE_END()
