#include <CLI/App.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "analysis/chosen_table.hpp"
#include "analysis/commands.hpp"
#include "analysis/html_page.hpp"
#include "analysis/page_pictures.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  TableArguments table;
  std::vector<std::string> words;
  std::string title, out;
};

/// A table for each SPEC, or the default one.
std::vector<ChosenTable> tables_of(const Options& options) {
  std::vector<std::string> specs, runs;
  for (const auto& word : options.words) (word.ends_with(".toml") ? specs : runs).push_back(word);
  if (specs.empty()) specs.emplace_back();
  std::vector<ChosenTable> tables;
  for (const auto& spec : specs) {
    TableArguments arguments = options.table;
    arguments.spec = spec, arguments.runs = runs;
    tables.push_back(chosen_table(arguments));
  }
  return tables;
}

void run(const Options& options) {
  const auto tables = tables_of(options);
  const std::string title = !options.title.empty() ? options.title : tables.front().runs.front().description().name;
  const auto folder = std::filesystem::path(options.out).parent_path().string();
  write_file_atomically(options.out, html_page(title, tables, page_pictures(tables.front().runs), folder));
  std::fprintf(stderr, "wrote %s\n", options.out.c_str());
}

}  // namespace

void add_html_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("html", "One page that stands alone: tables, pictures, and everything recorded of each run");
  command->add_option("SPEC|RUN", options->words, "A SPEC.toml for each table (none: the default table); runs (none: all)");
  options->table.add_store_and_flags(*command);
  command->add_option("--title", options->title, "Of the page (the first run's experiment)");
  command->add_option("--out", options->out, "The HTML file to write")->required();
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
