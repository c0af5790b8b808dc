// What framework/storage/README.md says of the tables is true, and its examples run.
#include <SQLiteCpp/SQLiteCpp.h>

#include <boost/test/unit_test.hpp>
#include <map>
#include <set>
#include <sstream>

#include "framework/storage/array_file.hpp"
#include "framework/storage/run_index.hpp"
#include "framework/storage/run_store.hpp"
#include "tests/storage/sample_run.hpp"
#include "tests/support/program.hpp"

using namespace kronlab;
using namespace kronlab::storage;
using namespace kronlab::testing;

namespace {

std::string readme() { return read_text_file(std::string(std::getenv("KRONLAB_SOURCE_DIR")) + "/framework/storage/README.md"); }

/// From the line that begins with `title` to the next one of its kind.
std::string section(const std::string& title) {
  const std::string text = readme();
  const auto begin = text.find("\n" + title + "\n");
  BOOST_REQUIRE_MESSAGE(begin != std::string::npos, "README.md has no section '" << title << "'");
  return text.substr(begin + 1, text.find("\n## ", begin + 1) - begin);
}

using Tables = std::map<std::string, std::vector<std::string>>;

Tables tables_in_text(const std::string& text) {
  Tables tables;
  std::string table;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("### ")) tables[table = line.substr(4)];
    if (!line.starts_with("| `")) continue;
    BOOST_TEST(line.find("` | ") + 6 < line.size(), line);
    tables[table].push_back(line.substr(3, line.find('`', 3) - 3));
  }
  return tables;
}

Tables tables_in_database(const std::filesystem::path& path) {
  SQLite::Database database(path.string(), SQLite::OPEN_READONLY);
  SQLite::Statement names(database, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
  Tables tables;
  while (names.executeStep()) {
    const std::string name = names.getColumn(0).getString();
    SQLite::Statement columns(database, "SELECT name FROM pragma_table_info(?)");
    columns.bind(1, name);
    while (columns.executeStep()) tables[name].push_back(columns.getColumn(0).getString());
  }
  return tables;
}

void expect_same(const Tables& said, const Tables& found) {
  for (const auto& [table, columns] : found) {
    BOOST_TEST(said.contains(table), "README.md leaves out table " << table);
    if (said.contains(table)) BOOST_TEST(said.at(table) == columns, boost::test_tools::per_element());
  }
  for (const auto& [table, columns] : said) BOOST_TEST(found.contains(table), "README.md has a table " << table << " that is not there");
}

/// Blocks of code of a language, in their sequence.
std::vector<std::string> blocks(const std::string& text, const std::string& language) {
  std::vector<std::string> found;
  const std::string fence = "```" + language + "\n";
  for (auto at = text.find(fence); at != std::string::npos; at = text.find(fence, at + 1)) {
    const auto begin = at + fence.size();
    found.push_back(text.substr(begin, text.find("```\n", begin) - begin));
  }
  return found;
}

struct Store {
  TemporaryFolder folder;
  std::string path = folder / "store";

  Store() {
    auto run = RunStore::create(path, sample_description("kronecker 4"));
    run.stage_started(0, "mlp");
    run.record_layer(sample_layer("layers.0.mlp.up_proj"));
    auto worse = sample_layer("layers.1.mlp.up_proj");
    worse.relative_error = 0.75;
    run.record_layer(worse);
    Metric metric = sample_metric("eval/perplexity", 31.5, 0);
    metric.dataset = "prose", metric.protocol = "p", metric.standard_error = 0.5;
    run.record(metric);
    ArrayFile arrays((run.folder() / "arrays.h5").string());
    for (const char* layer : {"layers.0.mlp.up_proj", "layers.1.mlp.up_proj"}) {
      arrays.write_vector("stages/0/layers/" + std::string(layer) + "/spectrum", std::vector<double>{3.5, 2.25, 1.125}, {{"unit", "1"}});
    }
    arrays.close();
    run.set_state(RunState::done);
    update_index(path, true);
  }
  ProgramOutput run(const std::string& program, const std::string& code) const {
    write_file_atomically(folder / "code", code);
    return run_program(program + " " + (folder / "code"), "STORE=" + path);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(storage_readme)

BOOST_AUTO_TEST_CASE(it_lists_the_tables_and_columns_that_are_there) {
  const Store store;
  const auto run = tables_in_database(indexed_runs(store.path).at(0).folder / "run.sqlite");
  BOOST_TEST(run.size() == 10u);
  expect_same(tables_in_text(section("## Tables of run.sqlite")), run);
  const auto index = tables_in_database(std::filesystem::path(store.path) / "index.sqlite");
  expect_same(tables_in_text(section("## Tables of index.sqlite")), index);
  BOOST_TEST(section("## Tables of run.sqlite").find(fmt::format("Schema {} ", run_schema_version)) != std::string::npos);
  for (const auto& [title, tables] : {std::pair{"## Tables of run.sqlite", run}, {"## Tables of index.sqlite", index}}) {
    const std::string picture = blocks(section(title), "").at(0);
    for (const auto& [table, columns] : tables) BOOST_TEST(picture.find(" " + table + " ") != std::string::npos, table << " is not in the picture");
  }
}

BOOST_AUTO_TEST_CASE(its_examples_run) {
  const Store store;
  const std::string text = section("## Questions");
  const auto shell = blocks(text, "sh"), python = blocks(text, "python");
  BOOST_TEST_REQUIRE(shell.size() == 1u);
  BOOST_TEST_REQUIRE(python.size() == 2u);
  const auto best = store.run("sh", shell[0]);
  BOOST_TEST(best.exit_code == 0, best.err);
  BOOST_TEST(best.out.find("\"kronecker 4\",31.5,0.5,prose") != std::string::npos, best.out);
  const auto layers = store.run("python3", python[0]);
  BOOST_TEST(layers.exit_code == 0, layers.err);
  BOOST_TEST(layers.out == "layers.1.mlp.up_proj permuted(kronecker) 0.75\nlayers.0.mlp.up_proj permuted(kronecker) 0.25\ncommit unknown\n");
  if (run_program("python3 -c 'import h5py'").exit_code != 0) {
    BOOST_TEST_MESSAGE("not run: python3 has no h5py");
    return;
  }
  const auto arrays = store.run("python3", python[1]);
  BOOST_TEST(arrays.exit_code == 0, arrays.err);
  BOOST_TEST(arrays.out.find("layers.1.mlp.up_proj 0.75 1 [3.5") != std::string::npos, arrays.out);
}

BOOST_AUTO_TEST_SUITE_END()
