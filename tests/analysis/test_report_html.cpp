// The page of an experiment, looked at by a real browser.
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "framework/base/hash.hpp"
#include "tests/analysis/report_fixture.hpp"
#include "tests/support/program.hpp"

using namespace kronlab;
using namespace kronlab::testing;
using Json = nlohmann::json;

namespace {

/// Puts what the browser knows of the page into its title, which --dump-dom prints.
constexpr const char* inspection = R"(<script>
addEventListener('load', () => {
  const broken = [...document.images].filter(image => !image.complete || image.naturalWidth < 100).length;
  const links = [...document.querySelectorAll('a[href^="#"]')].filter(a => !document.getElementById(a.getAttribute('href').slice(1))).length;
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const tables = [...document.querySelectorAll('table')].filter(table => table.rows.length > 1).length;
  document.title = JSON.stringify({ images: document.images.length, broken, links, wide, tables, width: innerWidth,
                                    runs: document.querySelectorAll('details').length, requests: performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length });
});
</script></html>)";

struct Seen {
  Json page;
  std::string console;
};

/// What a browser with a window of that many pixels sees; its console holds errors of the page, if there are any.
Seen look_at(const std::string& page, const TemporaryFolder& folder, int width) {
  write_file_atomically(folder / "inspected.html", read_text_file(page) + inspection);
  const auto output = run_program(fmt::format("chromium --headless --no-sandbox --disable-gpu --user-data-dir={0} --enable-logging=stderr --window-size={1},844 "
                                              "--virtual-time-budget=5000 --dump-dom file://{0}/inspected.html",
                                              folder.path().string(), width));
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  const auto begin = output.out.find("<title>") + 7, end = output.out.find("</title>");
  std::string title = output.out.substr(begin, end - begin);
  for (auto at = title.find("&quot;"); at != std::string::npos; at = title.find("&quot;")) title.replace(at, 6, "\"");
  Seen seen{Json::parse(title), {}};
  for (std::size_t at = 0; (at = output.err.find("CONSOLE", at)) != std::string::npos; ++at) seen.console += output.err.substr(at, output.err.find('\n', at) - at) + "\n";
  return seen;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(report_html)

BOOST_AUTO_TEST_CASE(a_browser_finds_tables_and_pictures_whole_on_a_desk_and_on_a_phone) {
  const Store store;
  finished_run(store.path, labelled("<script>alert(1)</script> & \"quotes\"", "1"), 40.25);
  finished_run(store.path, labelled(std::string(60, 'w'), "2"), 31.5, other_protocol);
  const std::string page = store.folder / "page.html";
  const Output output = store.report("html --out " + page);
  BOOST_TEST_REQUIRE(output.exit_code == 0, output.err);
  const std::string text = read_text_file(page);
  BOOST_TEST(text.find("<script>") == std::string::npos);
  BOOST_TEST(text.find("http") == text.npos);
  if (run_program("chromium --version").exit_code != 0) return report_skipped("the browser `chromium`");
  for (const int width : {1400, 500}) {  // headless Chromium has no narrower windows than 500 pixels
    const Seen seen = look_at(page, store.folder, width);
    BOOST_TEST_MESSAGE(seen.page.dump());
    BOOST_TEST(seen.console.empty(), seen.console);
    BOOST_TEST(seen.page["broken"] == 0);
    BOOST_TEST(seen.page["links"] == 0);
    BOOST_TEST(seen.page["wide"] == 0);
    BOOST_TEST(seen.page["tables"].get<int>() >= 7);  // results, and layers, metrics and provenance of two runs
    BOOST_TEST(seen.page["images"].get<int>() >= 1);
    BOOST_TEST(seen.page["runs"] == 2);
    BOOST_TEST(seen.page["requests"] == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_page_has_a_table_for_each_specification) {
  const Store store;
  finished_run(store.path, labelled("a", "1"), 40.25);
  write_file_atomically(store.folder / "one.toml", "title = \"First table\"\n[[column]]\nshow = \"label\"\n");
  write_file_atomically(store.folder / "two.toml", "title = \"Second table\"\n[[column]]\nshow = \"label\"\n");
  const std::string page = store.folder / "page.html";
  BOOST_TEST_REQUIRE(store.report("html --title Both " + (store.folder / "one.toml") + " " + (store.folder / "two.toml") + " --out " + page).exit_code == 0);
  const std::string text = read_text_file(page);
  for (const char* words : {"<title>Both</title>", "<caption>First table</caption>", "<caption>Second table</caption>"}) {
    BOOST_TEST(text.find(words) != std::string::npos, words);
  }
  BOOST_TEST(store.report("html").exit_code == 2);
  BOOST_TEST(store.report("html --out " + (store.folder / "none/page.html")).exit_code == 1);
}

BOOST_AUTO_TEST_SUITE_END()
