#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "analysis/chosen_table.hpp"
#include "analysis/commands.hpp"
#include "analysis/marked_table.hpp"
#include "analysis/table_formats.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  TableArguments table;
  std::vector<std::string> words;
  std::string format = "text";
  bool is_json = false, is_marked = false, has_all_rows = false;
};

void run(const Options& options) {
  TableArguments arguments = options.table;
  arguments.take_words(options.words);
  if (options.has_all_rows) arguments.rows = "measurement";
  const auto chosen = chosen_table(arguments);
  if (options.is_json) return print_json(json_table(chosen.table));
  const auto format = static_cast<TableFormat>(std::ranges::find(table_formats, options.format) - table_formats.begin());
  const std::string text = print_table(chosen.table, format);
  std::fputs((options.is_marked ? marked_table(chosen, format) : text).c_str(), stdout);
}

}  // namespace

void add_table_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("table", "Runs side by side: size, perplexity, errors, time, or what a SPEC.toml says");
  command->add_option("SPEC|RUN", options->words, "A table's SPEC.toml; runs: id, unique beginning or end of an id, or path of a run's folder (none: all)");
  options->table.add_store_and_flags(*command);
  command->add_flag("--all", options->has_all_rows, "The same as --rows measurement");
  command->add_option("--format", options->format, "text, markdown, latex (booktabs), html or csv")
      ->check(CLI::IsMember(table_formats))
      ->capture_default_str();
  command->add_flag("--marked", options->is_marked, "Between two comments that tell where it comes from, for `check-tables`: markdown, latex or html");
  command->add_flag("--json", options->is_json, "One JSON object on standard output, with the runs behind every number");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
