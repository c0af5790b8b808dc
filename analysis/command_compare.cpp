#include <CLI/App.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "analysis/commands.hpp"
#include "analysis/comparison.hpp"
#include "analysis/json_output.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::analysis {
namespace {

using Align = TextTable::Align;

struct Options {
  RunSelection selection;
  bool is_json = false;
};

/// [1], [2], ...: how the runs are called in headers.
std::string mark_of(std::size_t run) { return fmt::format("[{}]", run + 1); }

void print_runs(const storage::Results& results) {
  TextTable table{{{"run"}, {"label"}, {"state"}, {"parameters", Align::right}, {"stored", Align::right}}, {}};
  for (const auto& measure : results.measures) table.columns.push_back({storage::place_of(measure), Align::right});
  std::size_t run = 0;
  for (const auto& row : results.rows) {
    std::vector<std::string> cells = {row.is_dense ? "" : mark_of(run) + " " + row.run_id, row.label, row.is_dense ? "-" : row.state,
                                      row.num_parameters ? format_count(*row.num_parameters) : "-",
                                      row.stored_bytes ? format_bytes(*row.stored_bytes) : "-"};
    for (const auto& value : row.measured) cells.push_back(storage::format_value(value));
    table.rows.push_back(std::move(cells));
    if (!row.is_dense) ++run;
  }
  std::fputs(table.print(TextTable::Format::text).c_str(), stdout);
}

void print_settings(const std::vector<SettingDifference>& differences, std::size_t num_runs) {
  if (differences.empty()) {
    std::puts("\nThe configurations are the same.");
    return;
  }
  TextTable table{{{"setting"}}, {}};
  for (std::size_t run = 0; run < num_runs; ++run) table.columns.push_back({mark_of(run)});
  for (const auto& difference : differences) {
    table.rows.push_back({difference.path});
    table.rows.back().insert(table.rows.back().end(), difference.values.begin(), difference.values.end());
  }
  std::printf("\nWhat differs in configuration\n\n%s", table.print(TextTable::Format::text).c_str());
}

/// How much a perplexity changes: exp of the difference of mean losses, in percent; a divergence is none.
std::string percent_of(const PairedTest& test) {
  if (test.protocol.starts_with("kl-divergence ")) return "";
  const auto& result = test.result;
  return fmt::format("{:+.2f} %", 100 * std::expm1(result.difference.mean));
}

void print_tests(const std::vector<storage::RunReader>& runs) {
  TextTable table{{{"run"}, {"text"}, {"loss difference", Align::right}, {"perplexity", Align::right}, {"windows", Align::right},
                   {"t", Align::right}, {"p", Align::right}},
                  {}};
  std::string problems;
  for (std::size_t run = 1; run < runs.size(); ++run) {
    for (const auto& test : paired_tests(runs.front(), runs[run])) {
      const std::string pair = fmt::format("{} - {}", mark_of(run), mark_of(0)), place = test.dataset + ", " + test.protocol;
      if (!test.problem.empty()) {
        problems += fmt::format("{} on {}: {}\n", pair, place, test.problem);
        continue;
      }
      const auto& [difference, num_windows, t, p] = test.result;
      table.rows.push_back({pair, place, fmt::format("{:+.4f} ± {:.4f}", difference.mean, difference.standard_error), percent_of(test),
                            std::to_string(num_windows), format_number(t, 3), format_number(p, 2)});
    }
  }
  if (table.rows.empty() && problems.empty()) {
    std::puts("\nNo paired tests: no two runs have the losses of the same text's windows.");
    return;
  }
  if (!table.rows.empty()) {
    std::printf("\nPaired t-tests over windows (nat; p two-sided, for each test alone)\n\n%s", table.print(TextTable::Format::text).c_str());
  }
  std::fputs(problems.c_str(), stdout);
}

void print_as_json(const std::vector<storage::RunReader>& runs) {
  Json json = {{"runs", Json::array()}, {"settings", Json::array()}, {"paired_tests", Json::array()}};
  for (const auto& run : runs) json["runs"].push_back(run.id());
  for (const auto& [path, values] : setting_differences(runs)) json["settings"].push_back({{"path", path}, {"values", values}});
  for (std::size_t run = 1; run < runs.size(); ++run) {
    for (const auto& test : paired_tests(runs.front(), runs[run])) {
      Json entry = {{"first", runs.front().id()}, {"second", runs[run].id()}, {"dataset", test.dataset}, {"protocol", test.protocol}};
      if (test.problem.empty()) {
        entry["difference"] = json_number(test.result.difference.mean);
        entry["standard_error"] = json_number(test.result.difference.standard_error);
        entry["unit"] = "nat";
        entry["windows"] = test.result.num_windows;
        entry["t"] = json_number(test.result.t);
        entry["p"] = json_number(test.result.p_value);
      } else {
        entry["problem"] = test.problem;
      }
      json["paired_tests"].push_back(std::move(entry));
    }
  }
  print_json(json);
}

void run(const Options& options) {
  const auto runs = open_runs(options.selection);
  if (runs.size() < 2) throw ConfigError(fmt::format("{} run, expected two or more to compare", runs.size()));
  if (options.is_json) return print_as_json(runs);
  print_runs(storage::results_of(runs));
  print_settings(setting_differences(runs), runs.size());
  print_tests(runs);
}

}  // namespace

void add_compare_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("compare", "What differs between runs: settings, results, and paired tests against the first");
  options->selection.add_store_option(*command);
  options->selection.add_run_arguments(*command);
  command->add_flag("--json", options->is_json, "One JSON object on standard output");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
