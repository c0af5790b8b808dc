#include <CLI/App.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>

#include "analysis/commands.hpp"
#include "analysis/marked_table.hpp"
#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  std::string store = "./kronlab-store";
  std::vector<std::string> files;
  bool updates = false;
};

/// A SPEC is where its path says, or beside the file that holds the table.
void find_spec(TableArguments& arguments, const std::string& file) {
  if (arguments.spec.empty() || std::filesystem::exists(arguments.spec)) return;
  const auto beside = std::filesystem::path(file).parent_path() / arguments.spec;
  if (std::filesystem::exists(beside)) arguments.spec = beside.string();
}

/// The lines that only one of two texts has, as `diff` shows them.
std::string differences(const std::string& committed, const std::string& recorded) {
  std::istringstream before(committed), now(recorded);
  std::string text, old_line, new_line;
  while (true) {
    const bool has_old = static_cast<bool>(std::getline(before, old_line)), has_new = static_cast<bool>(std::getline(now, new_line));
    if (!has_old && !has_new) return text;
    if (has_old && has_new && old_line == new_line) continue;
    if (has_old) text += "  - " + old_line + "\n";
    if (has_new) text += "  + " + new_line + "\n";
  }
}

std::size_t num_numbers(const ResultTable& table) {
  std::size_t count = 0;
  for (const auto& row : table.rows) {
    for (const auto& cell : row.cells) count += cell.value ? 1 : 0;
  }
  return count;
}

struct Outcome {
  Index num_tables = 0, num_bad = 0;
};

/// Compares the tables of a file with their runs, from the last one, so that replacing one does not move the others.
Outcome check_file(const std::string& file, const Options& options) {
  std::string text = read_text_file(file);
  auto tables = marked_tables(text, file);
  if (tables.empty()) throw ConfigError(fmt::format("'{}' holds no table made with `kronlab-report table --marked`", file));
  Outcome outcome{static_cast<Index>(tables.size()), 0};
  bool has_changed = false;
  for (auto marked = tables.rbegin(); marked != tables.rend(); ++marked) {
    const std::string place = fmt::format("{}:{}", file, marked->line), committed = text.substr(marked->begin, marked->end - marked->begin);
    marked->arguments.store = options.store;
    const std::string named_spec = marked->arguments.spec;
    find_spec(marked->arguments, file);
    try {
      auto chosen = chosen_table(marked->arguments);
      chosen.arguments.spec = named_spec;
      const std::string recorded = marked_table(chosen, marked->format);
      if (recorded == committed) {
        const std::string of = chosen.runs.empty() ? "published numbers" : fmt::format("numbers of {} runs, as recorded", chosen.runs.size());
        std::printf("%s: %zu %s\n", place.c_str(), num_numbers(chosen.table), of.c_str());
        continue;
      }
      std::printf("%s: not what its runs recorded%s\n%s", place.c_str(), options.updates ? ", replaced" : "", differences(committed, recorded).c_str());
      if (options.updates) text.replace(marked->begin, committed.size(), recorded), has_changed = true;
    } catch (const Error& error) {
      std::printf("%s: %s\n", place.c_str(), error.what());
      ++outcome.num_bad;
      continue;
    }
    if (!options.updates) ++outcome.num_bad;
  }
  if (has_changed) write_file_atomically(file, text);
  return outcome;
}

void run(const Options& options) {
  Outcome all;
  for (const auto& file : options.files) {
    const auto [num_tables, num_bad] = check_file(file, options);
    all.num_tables += num_tables, all.num_bad += num_bad;
  }
  if (all.num_bad > 0) throw StorageError(fmt::format("{} of {} tables are not what their runs recorded", all.num_bad, all.num_tables));
}

}  // namespace

void add_check_tables_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check-tables", "Whether tables in files (made by `table --marked`) are still what their runs recorded");
  command->add_option("FILE", options->files, "Markdown, LaTeX or HTML files")->required();
  command->add_option("--store", options->store, "Folder of the store")->envname("KRONLAB_STORE")->capture_default_str();
  command->add_flag("--update", options->updates, "Replace those that are not");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
