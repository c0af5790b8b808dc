#include <CLI/App.hpp>
#include <cstdio>
#include <memory>

#include "analysis/chosen_table.hpp"
#include "analysis/commands.hpp"
#include "analysis/explanation.hpp"
#include "analysis/marked_table.hpp"
#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  TableArguments table;
  std::vector<std::string> words;
  Index number = 1;  ///< which table of a file
};

bool is_file_of_tables(const std::string& word) { return word.ends_with(".md") || word.ends_with(".tex") || word.ends_with(".html"); }

/// A table that stands in a file.
TableArguments arguments_in(const std::string& file, const Options& options) {
  const auto tables = marked_tables(read_text_file(file), file);
  if (options.number < 1 || options.number > static_cast<Index>(tables.size())) {
    throw ConfigError(fmt::format("'{}' holds {} tables made with `kronlab-report table --marked`, expected --table from 1 to that", file, tables.size()));
  }
  TableArguments arguments = tables[static_cast<std::size_t>(options.number - 1)].arguments;
  arguments.store = options.table.store;
  return arguments;
}

void run(const Options& options) {
  const std::vector<std::string> what(options.words.begin(), options.words.end() - 1);
  TableArguments arguments = options.table;
  if (what.size() == 1 && is_file_of_tables(what.front())) {
    arguments = arguments_in(what.front(), options);
  } else {
    arguments.take_words(what);
  }
  const auto chosen = chosen_table(arguments);
  std::fputs(explanation(chosen, cell_address(chosen.table, options.words.back())).c_str(), stdout);
}

}  // namespace

void add_explain_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("explain", "From a number of a table to its runs, their records, and the arithmetic between");
  command
      ->add_option("TABLE... CELL", options->words,
                   "The table as for `table` (a SPEC.toml, runs, or nothing), or a file with a marked table; then ROW:COLUMN, each by number from 1 or by a part "
                   "of its label or header: 3:perplexity")
      ->required();
  options->table.add_store_and_flags(*command);
  command->add_option("--table", options->number, "Which of the tables in a file")->capture_default_str();
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
