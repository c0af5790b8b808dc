#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "framework/config/read_toml_file.hpp"
#include "framework/config/strict_table.hpp"
#include "framework/config/sweep.hpp"
#include "tests/support/message_of.hpp"
#include "tests/support/test_data.hpp"

using namespace kronlab;
using namespace kronlab::config;
using kronlab::testing::message_of;

namespace {

using Files = std::map<std::string, std::string>;

Value read(const Files& files, const std::string& file = "e.toml") {
  return read_toml_file(file, [&](const std::string& path) {
    const auto found = files.find(path);
    if (found == files.end()) throw StorageError(fmt::format("cannot open '{}'", path));
    return found->second;
  });
}

std::string text_of(const Files& files) { return to_text(read(files)); }

std::string error_of(const Files& files) {
  return message_of([&] { read(files); });
}

/// Files 0.toml, 1.toml, ..., each including the next.
Files chain_of(int num_levels) {
  Files files{{"e.toml", "include = \"1.toml\""}};
  for (int level = 1; level < num_levels; ++level) files[fmt::format("{}.toml", level)] = fmt::format("include = \"{}.toml\"", level + 1);
  files[fmt::format("{}.toml", num_levels)] = "deep = true";
  return files;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(included_files)

BOOST_AUTO_TEST_CASE(tables_are_merged_key_by_key_and_the_including_file_wins) {
  BOOST_TEST(text_of({{"e.toml", "include = \"base.toml\"\na = 1\n[model]\nhead = \"tied\"\n[data.calibration]\ntokens = 2"},
                      {"base.toml", "a = 0\nb = 0\n[model]\npath = \"m\"\nhead = \"as-is\"\n[data.calibration]\npath = \"c\""}}) ==
             "{a = 1, b = 0, data = {calibration = {path = \"c\", tokens = 2}}, model = {head = \"tied\", path = \"m\"}}");
}

BOOST_AUTO_TEST_CASE(arrays_and_values_of_another_type_are_replaced_as_a_whole) {
  BOOST_TEST(text_of({{"e.toml", "include = \"base.toml\"\nlist = [3]\ntable = 1\n[value]\nk = 1\n[[stage]]\nk = 3"},
                      {"base.toml", "list = [1, 2]\nvalue = 0\n[table]\nk = 1\n[[stage]]\nk = 1\nn = 1\n[[stage]]\nk = 2\n[[evaluate]]\nk = 4"}}) ==
             "{evaluate = [{k = 4}], list = [3], stage = [{k = 3}], table = 1, value = {k = 1}}");
}

BOOST_AUTO_TEST_CASE(a_later_file_of_a_list_wins_and_a_file_may_be_included_by_two) {
  BOOST_TEST(text_of({{"e.toml", "include = [\"one.toml\", \"two.toml\"]"},
                      {"one.toml", "include = \"common.toml\"\na = 1\nb = 1"},
                      {"two.toml", "include = \"common.toml\"\nb = 2"},
                      {"common.toml", "a = 0\nc = 0"}}) == "{a = 0, b = 2, c = 0}");
}

BOOST_AUTO_TEST_CASE(paths_start_at_the_folder_of_the_file_that_includes) {
  const Files files{{"runs/e.toml", "include = \"../bases/b.toml\""}, {"bases/b.toml", "include = \"deep/c.toml\""}, {"bases/deep/c.toml", "include = \"/d.toml\""}, {"/d.toml", "d = 1"}};
  BOOST_TEST(to_text(read(files, "runs/e.toml")) == "{d = 1}");
}

BOOST_AUTO_TEST_CASE(positions_name_the_file_where_a_value_was_written) {
  const Value value = read({{"e.toml", "include = \"base.toml\"\n[model]\nhead = 1"}, {"base.toml", "\n[model]\npath = 2\n[experiment]\nname = \"e\""}});
  const StrictTable root(value);
  BOOST_TEST(message_of([&] { root.table("model").text("path"); }).starts_with("base.toml:3:1: model.path: expected a text"));
  BOOST_TEST(message_of([&] { root.table("model").text("head"); }).starts_with("e.toml:3:1: model.head: expected a text"));
  BOOST_TEST(message_of([&] { root.table("model").text("name"); }).starts_with("e.toml:2:2: model.name: is missing"));
  BOOST_TEST(message_of([&] { root.table("experiment").integer("seed"); }).starts_with("base.toml:4:2: experiment.seed: is missing"));
  BOOST_TEST(error_of({{"e.toml", "include = \"base.toml\""}, {"base.toml", "a = 1\nb = = 2"}}).starts_with("base.toml:2:5"));
}

BOOST_AUTO_TEST_CASE(runs_are_the_same_whether_something_was_written_or_included) {
  const std::string head = "[experiment]\nname = \"e\"\n", stage = "[[stage]]\nk = 1\n", sweep = "[sweep]\nseeds = [0, 1]\n", grid = "\"stage.0.k\" = [1, 2]\n";
  const auto written = expand_sweep(parse_toml(head + stage + sweep + grid, "e.toml"));
  const auto included = expand_sweep(read({{"e.toml", "include = [\"a.toml\", \"b.toml\"]\n" + sweep}, {"a.toml", head + "[sweep]\n" + grid + "seeds = [7]"}, {"b.toml", stage}}));
  BOOST_TEST_REQUIRE(written.size() == 4u);
  BOOST_TEST_REQUIRE(included.size() == written.size());
  for (std::size_t i = 0; i < written.size(); ++i) {
    BOOST_TEST(included[i].label == written[i].label);
    BOOST_TEST(to_text(included[i].config) == to_text(written[i].config));
    BOOST_TEST(included[i].parameters == written[i].parameters);
  }
}

BOOST_AUTO_TEST_CASE(a_cycle_is_an_error_with_its_place_and_the_chain) {
  BOOST_TEST(error_of({{"e.toml", "\ninclude = \"e.toml\""}}) == "e.toml:2:1: include: 'e.toml' includes itself (e.toml -> e.toml)");
  BOOST_TEST(error_of({{"e.toml", "include = \"a/b.toml\""}, {"a/b.toml", "include = [\"c.toml\",\n\"../e.toml\"]"}, {"a/c.toml", ""}}) ==
             "a/b.toml:2:1: include: 'e.toml' includes itself (e.toml -> a/b.toml -> e.toml)");
  BOOST_TEST(message_of([] { read({{"./e.toml", "include = \"e.toml\""}}, "./e.toml"); }).find("includes itself") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(there_may_be_16_levels_and_no_more) {
  BOOST_TEST(text_of(chain_of(16)) == "{deep = true}");
  const std::string error = error_of(chain_of(17));
  BOOST_TEST(error.starts_with("16.toml:1:1: include: more than 16 levels (e.toml -> 1.toml -> 2.toml -> "), error);
  BOOST_TEST(error.ends_with("-> 16.toml -> 17.toml)"), error);
}

BOOST_AUTO_TEST_CASE(a_missing_file_is_an_error_with_the_place_of_its_include_and_the_chain) {
  BOOST_TEST(error_of({{"e.toml", "include = \"b.toml\""}, {"b.toml", "a = 1\ninclude = [\n  \"c.toml\"]"}}) ==
             "b.toml:3:3: include: cannot open 'c.toml' (e.toml -> b.toml -> c.toml)");
  BOOST_TEST(error_of({}) == "cannot open 'e.toml'");
  BOOST_CHECK_THROW(read({}), ConfigError);
}

BOOST_AUTO_TEST_CASE(an_include_that_is_no_text_is_an_error_with_its_place) {
  const auto error = [](const std::string& include) { return error_of({{"e.toml", "include = " + include}}); };
  BOOST_TEST(error("3") == "e.toml:1:1: include: expected the path of a file or a list of paths, found 3 (e.toml)");
  BOOST_TEST(error("[3]").starts_with("e.toml:1:12: include: expected the path of a file"));
  BOOST_TEST(error("[[\"a\"]]").starts_with("e.toml:1:12: include: expected the path of a file"));
  BOOST_TEST(error("\"\"").starts_with("e.toml:1:1: include: expected the path of a file"));
  BOOST_TEST(error("{ path = \"a\" }").starts_with("e.toml:1:1: include: expected the path of a file"));
  BOOST_TEST(error("[]") == "e.toml:1:1: include: the list is empty (e.toml)");
  BOOST_CHECK_THROW(read({{"e.toml", "include = 3"}}), ConfigError);
}

BOOST_AUTO_TEST_CASE(files_are_read_from_the_disk) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "bases");
  write_file_atomically(folder / "e.toml", "include = \"bases/b.toml\"");
  write_file_atomically(folder / "bases/b.toml", "b = 1");
  BOOST_TEST(to_text(read_toml_file(folder / "e.toml")) == "{b = 1}");
  write_file_atomically(folder / "e.toml", "include = \"bases\"");
  BOOST_TEST(message_of([&] { read_toml_file(folder / "e.toml"); }).find("include: cannot read") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
