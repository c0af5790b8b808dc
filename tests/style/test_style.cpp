#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace fs = std::filesystem;

namespace {

struct File {
  std::string path;  ///< from the root of the sources
  std::string text;
};

bool starts_with_any(std::string_view path, const std::set<std::string>& folders) {
  return std::ranges::any_of(folders, [&](const auto& folder) { return path.starts_with(folder + "/"); });
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Folder -> folders that it may include besides itself: what the design allows and nothing else.
const std::map<std::string, std::set<std::string>>& arrows() {
  static const auto framework = [](std::initializer_list<const char*> names) {
    std::set<std::string> folders;
    for (const char* name : names) folders.insert(std::string("framework/") + name);
    return folders;
  };
  static const std::map<std::string, std::set<std::string>> table = [] {
    std::map<std::string, std::set<std::string>> t{
        {"framework/base", {}},
        {"framework/tensor", framework({"base"})},
        {"framework/comm", framework({"base"})},
        {"framework/config", framework({"base"})},
        {"framework/kernels", framework({"base", "tensor"})},
        {"framework/linalg", framework({"base", "tensor", "comm", "kernels"})},
        {"framework/storage", framework({"base", "tensor", "comm"})},
        {"framework/model", framework({"base", "tensor", "kernels", "linalg", "config"})},
        {"framework/eval", framework({"base", "tensor", "comm", "kernels", "model"})},
        {"decompositions", framework({"base", "tensor", "comm", "kernels", "linalg", "config"})},
        {"distill", framework({"base", "tensor", "comm", "kernels", "linalg", "model", "config"})},
        {"analysis", framework({"base", "config", "storage"})},
        {"slurm", framework({"base", "config"})},
        {"experiments", {"framework", "decompositions", "distill"}},
    };
    return t;
  }();
  return table;
}

using Complaints = std::vector<std::string>;

bool is_test(const File& file) { return file.path.starts_with("tests/"); }

Complaints include_complaints(const File& file) {
  Complaints found;
  if (is_test(file)) return found;
  const auto rule =
      std::ranges::find_if(arrows(), [&](const auto& entry) { return file.path.starts_with(entry.first + "/"); });
  if (rule == arrows().end()) return {file.path + ": in a folder that the design does not name"};
  for (const auto& line : lines_of(file.text)) {
    const auto hash = line.find_first_not_of(' ');
    if (hash == std::string::npos || line[hash] != '#' || line.find("include") == std::string::npos) continue;
    const auto open = line.find_first_of("\"<"), close = line.find_last_of("\">");
    if (open == std::string::npos || close <= open) continue;
    const std::string included = line.substr(open + 1, close - open - 1);
    static const std::set<std::string> own{"framework",   "decompositions", "distill",
                                           "experiments", "analysis",       "slurm", "tests"};
    if (line[open] == '<' && !starts_with_any(included, own)) continue;  // a package
    if (!included.starts_with(rule->first + "/") && !starts_with_any(included, rule->second)) {
      found.push_back(file.path + ": may not include " + included);
    }
  }
  return found;
}

Complaints text_complaints(const File& file) {
  Complaints found;
  const auto lines = lines_of(file.text);
  if (file.path.ends_with(".hpp") && std::ranges::find(lines, "#pragma once") == lines.end())
    found.push_back(file.path + ": no #pragma once");
  if (!is_test(file) && lines.size() > 500)
    found.push_back(file.path + ": " + std::to_string(lines.size()) + " lines, at most 500");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string at = file.path + ":" + std::to_string(i + 1);
    if (lines[i].find('\t') != std::string::npos) found.push_back(at + ": tab");
    if (lines[i].ends_with(' ') || lines[i].ends_with('\r')) found.push_back(at + ": blank at the end of the line");
    if (lines[i].starts_with("#include <format>")) found.push_back(at + ": <format> is not there in g++ 12");
  }
  return found;
}

/// Sources that no list of CMake in their folder or above names. A list names files from its own folder.
Complaints dead_files(const std::vector<File>& sources, const std::vector<File>& lists) {
  Complaints found;
  for (const auto& source : sources) {
    if (!source.path.ends_with(".cpp")) continue;
    const bool is_named = std::ranges::any_of(lists, [&](const File& list) {
      const std::string folder = list.path.substr(0, list.path.size() - std::string_view("CMakeLists.txt").size());
      if (!source.path.starts_with(folder)) return false;
      const std::string name = source.path.substr(folder.size());
      constexpr std::string_view ends = " \n\r()\"";
      for (auto at = list.text.find(name); at != std::string::npos; at = list.text.find(name, at + 1)) {
        const auto after = at + name.size();
        const bool begins = at == 0 || ends.find(list.text[at - 1]) != std::string_view::npos;
        if (begins && (after == list.text.size() || ends.find(list.text[after]) != std::string_view::npos)) return true;
      }
      return false;
    });
    if (!is_named) found.push_back(source.path + ": named in no CMakeLists.txt");
  }
  return found;
}

struct Tree {
  std::vector<File> sources, lists;
};

Tree read_tree(const fs::path& root) {
  Tree tree;
  for (const char* top : {"framework", "decompositions", "distill", "experiments", "analysis", "slurm", "tests"}) {
    if (!fs::exists(root / top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const auto& path = entry.path();
      const bool is_list = path.filename() == "CMakeLists.txt",
                 is_source = path.extension() == ".hpp" || path.extension() == ".cpp";
      if (!entry.is_regular_file() || (!is_list && !is_source)) continue;
      std::ostringstream text;
      text << std::ifstream(path).rdbuf();
      (is_list ? tree.lists : tree.sources).push_back({fs::relative(path, root).generic_string(), text.str()});
    }
  }
  return tree;
}

const Tree& tree() {
  static const Tree result = [] {
    const char* root = std::getenv("KRONLAB_SOURCE_DIR");
    BOOST_REQUIRE_MESSAGE(root, "KRONLAB_SOURCE_DIR is not set: run this by ctest");
    return read_tree(root);
  }();
  return result;
}

void expect_none(const Complaints& complaints) {
  for (const auto& complaint : complaints) BOOST_ERROR(complaint);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(style)

BOOST_AUTO_TEST_CASE(bad_snippets_are_found) {
  const auto includes = [](const char* path, const char* included) {
    return include_complaints({path, std::string("#pragma once\n#  include \"") + included + "\"\n"}).size();
  };
  BOOST_TEST(includes("framework/base/a.hpp", "framework/tensor/tensor.hpp") == 1);
  BOOST_TEST(includes("framework/linalg/a.cpp", "framework/storage/a.hpp") == 1);
  BOOST_TEST(includes("framework/model/a.cpp", "framework/storage/a.hpp") == 1);
  BOOST_TEST(includes("decompositions/permutation/a.cpp", "framework/model/a.hpp") == 1);
  BOOST_TEST(includes("decompositions/budget/a.cpp", "framework/storage/a.hpp") == 1);
  BOOST_TEST(includes("distill/a.cpp", "framework/storage/a.hpp") == 1);
  BOOST_TEST(includes("distill/a.cpp", "decompositions/decomposer.hpp") == 1);
  BOOST_TEST(includes("analysis/a.cpp", "framework/comm/communicator.hpp") == 1);
  BOOST_TEST(includes("slurm/a.cpp", "framework/storage/a.hpp") == 1);
  BOOST_TEST(includes("framework/storage/a.cpp", "experiments/a.hpp") == 1);
  BOOST_TEST(includes("framework/storage/a.cpp", "a.hpp") == 1);
  BOOST_TEST(
      include_complaints({"framework/base/a.cpp", "#include <framework/comm/a.hpp>\n#include <vector>\n"}).size() == 1);
  BOOST_TEST(includes("framework/other/a.cpp", "framework/base/error.hpp") == 1);
  BOOST_TEST(includes("framework/linalg/a.cpp", "framework/linalg/gemm.hpp") == 0);
  BOOST_TEST(includes("experiments/pipeline/a.cpp", "framework/storage/a.hpp") == 0);
  BOOST_TEST(includes("analysis/a.cpp", "framework/storage/a.hpp") == 0);
  BOOST_TEST(includes("tests/a.cpp", "framework/storage/a.hpp") == 0);

  BOOST_TEST(text_complaints({"a/a.hpp", "// none\n"}).size() == 1);
  BOOST_TEST(text_complaints({"a/a.hpp", "#pragma once\n"}).empty());
  BOOST_TEST(text_complaints({"a/a.cpp", "int\ta;\n"}).size() == 1);
  BOOST_TEST(text_complaints({"a/a.cpp", "int a; \n"}).size() == 1);
  BOOST_TEST(text_complaints({"a/a.cpp", "#include <format>\n"}).size() == 1);
  std::string long_text;
  for (int i = 0; i < 501; ++i) long_text += "\n";
  BOOST_TEST(text_complaints({"a/a.cpp", long_text}).size() == 1);
  BOOST_TEST(text_complaints({"tests/a.cpp", long_text}).empty());

  const std::vector<File> sources{{"a/b.cpp", ""}, {"a/c/d.cpp", ""}, {"a/e.cpp", ""}, {"a/e.hpp", ""}};
  BOOST_TEST(dead_files(sources, {{"a/CMakeLists.txt", "lib(SOURCES b.cpp c/d.cpp\n  e.cpp)"}}).empty());
  BOOST_TEST(dead_files(sources, {{"a/CMakeLists.txt", "lib(SOURCES b.cpp c/d.cpp ee.cpp)"}}).size() == 1);
  BOOST_TEST(dead_files(sources, {{"z/CMakeLists.txt", "lib(SOURCES b.cpp c/d.cpp e.cpp)"}}).size() == 3);
}

BOOST_AUTO_TEST_CASE(the_tree_was_read) {
  const auto has = [](const char* path) {
    return std::ranges::any_of(tree().sources, [&](const File& file) { return file.path == path; });
  };
  BOOST_TEST(has("framework/base/error.hpp"));
  BOOST_TEST(has("decompositions/decomposer.cpp"));
  BOOST_TEST(has("tests/style/test_style.cpp"));
  BOOST_TEST(tree().lists.size() > 10U);
}

BOOST_AUTO_TEST_CASE(includes_follow_the_arrows_of_the_design) {
  for (const auto& file : tree().sources) expect_none(include_complaints(file));
}

BOOST_AUTO_TEST_CASE(headers_are_guarded_files_are_short_and_lines_are_clean) {
  for (const auto& file : tree().sources) expect_none(text_complaints(file));
}

BOOST_AUTO_TEST_CASE(every_source_is_built) { expect_none(dead_files(tree().sources, tree().lists)); }

BOOST_AUTO_TEST_SUITE_END()
