#include "analysis/chosen_table.hpp"

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>

#include "framework/base/error.hpp"
#include "framework/storage/run_index.hpp"

namespace kronlab::analysis {
namespace {

const std::vector<std::string> spread_words = {"deviation", "interval"};

template <class Enum>
void choose(Enum& chosen, const std::string& word, const std::vector<std::string>& words) {
  if (!word.empty()) chosen = static_cast<Enum>(std::ranges::find(words, word) - words.begin());
}

TableSpec spec_of(const TableArguments& arguments) {
  TableSpec spec = arguments.spec.empty() ? TableSpec() : read_table_spec(arguments.spec);
  if (!arguments.experiment.empty()) spec.experiment = arguments.experiment;
  if (!arguments.columns.empty()) spec.columns.clear();
  for (const auto& show : arguments.columns) spec.columns.push_back(column_named(show));
  choose(spec.rows, arguments.rows, rows_words);
  choose(spec.spread, arguments.spread, spread_words);
  if (!arguments.sort.empty()) spec.sort = arguments.sort;
  return spec;
}

std::vector<storage::RunReader> runs_of(const TableArguments& arguments, const TableSpec& spec) {
  if (spec.rows == RowsBy::published) {
    if (arguments.runs.empty() && spec.experiment.empty() && spec.state.empty() && spec.where.empty()) return {};
    throw ConfigError(fmt::format("{}: rows = \"published\" shows no runs, and some were asked for", arguments.spec));
  }
  RunSelection selection{arguments.store, arguments.runs, spec.experiment};
  if (!arguments.runs.empty() || (spec.state.empty() && spec.where.empty())) return open_runs(selection);
  auto indexed = storage::indexed_runs(arguments.store);
  std::erase_if(indexed, [&](const auto& run) {
    const bool is_of_experiment = spec.experiment.empty() || run.name == spec.experiment;
    return !run.problem.empty() || !is_of_experiment || (!spec.state.empty() && storage::to_string(run.status.state) != spec.state);
  });
  if (!spec.where.empty()) indexed = storage::runs_where(std::move(indexed), spec.where);
  if (indexed.empty()) {
    throw ConfigError(fmt::format("{}: runs: no run of the store '{}' is so", arguments.spec, arguments.store));
  }
  std::vector<storage::RunReader> runs;
  for (const auto& run : indexed) runs.emplace_back(run.folder);
  return runs;
}

}  // namespace

void TableArguments::add_store_and_flags(CLI::App& command) {
  store = "./kronlab-store";
  command.add_option("--store", store, "Folder of the store")->envname("KRONLAB_STORE")->capture_default_str();
  command.add_option("--experiment", experiment, "Only runs of the experiment with this name");
  command.add_option("--columns", columns, "What to show: label, state, runs, seconds, relative_error, weighted_error, varied.PATH, metrics such as eval/perplexity")
      ->delimiter(',');
  command.add_option("--rows", rows, "configuration: runs that differ only in their seed share a row (default); run; measurement: each stage; published: no runs")
      ->check(CLI::IsMember(rows_words));
  command.add_option("--spread", spread, "Behind ± of several runs: their standard deviation (default), or the 95 % interval of their mean")
      ->check(CLI::IsMember(spread_words));
  command.add_option("--sort", sort, "Header of the column to sort by, the lowest first");
}

void TableArguments::take_words(const std::vector<std::string>& words) {
  for (const auto& word : words) {
    if (!word.ends_with(".toml")) {
      runs.push_back(word);
    } else if (spec.empty()) {
      spec = word;
    } else {
      throw ConfigError(fmt::format("two specifications, '{}' and '{}', expected one", spec, word));
    }
  }
}

ChosenTable chosen_table(const TableArguments& arguments) {
  const TableSpec spec = spec_of(arguments);
  auto runs = runs_of(arguments, spec);
  auto table = result_table(spec, runs);
  ChosenTable chosen{arguments, std::move(table), std::move(runs)};
  if (spec.rows == RowsBy::published) chosen.arguments.rows = "published";
  return chosen;
}

}  // namespace kronlab::analysis
