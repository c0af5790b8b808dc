#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>

#include "analysis/commands.hpp"
#include "analysis/gnuplot.hpp"
#include "analysis/json_output.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/run_index.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  RunSelection selection;
  std::string state, method, since, where;
  Index width = ::isatty(STDOUT_FILENO) ? static_cast<Index>(terminal_columns()) : 0;  ///< characters of a line; 0: any
  bool is_json = false;
};

Json describe(const storage::IndexedRun& run) {
  if (!run.problem.empty()) return {{"id", run.id}, {"state", "broken"}, {"problem", run.problem}};
  return {{"id", run.id},
          {"name", run.name},
          {"label", run.label},
          {"model", run.model_name},
          {"methods", run.methods},
          {"state", storage::to_string(run.status.state)},
          {"reason", run.status.reason},
          {"started", run.status.created_at},
          {"seconds", json_number(run.status.seconds)},
          {"varied", json_texts(run.parameters)},
          {"headline", run.headline ? json_metric(*run.headline) : Json(nullptr)}};
}

std::string state_of(const storage::IndexedRun& run) { return run.problem.empty() ? storage::to_string(run.status.state) : "broken"; }

std::string headline_text(const std::optional<Metric>& headline) {
  if (!headline) return "-";
  return fmt::format("perplexity {}{}{}", format_number(headline->value), headline->dataset.empty() ? "" : " on " + headline->dataset,
                     headline->stage == -1 ? " (dense)" : "");
}

/// Cuts the columns that may be cut, the label first, until a line fits; none below what still says something.
void fit_width(TextTable& table, std::size_t width) {
  constexpr std::size_t label = 2, name = 1, result = 6;
  std::vector<std::size_t> widths;
  std::size_t total = 2 * (table.columns.size() - 1);
  for (std::size_t column = 0; column < table.columns.size(); ++column) {
    widths.push_back(display_width(table.columns[column].header));
    for (const auto& row : table.rows) widths.back() = std::max(widths.back(), display_width(row[column]));
    total += widths.back();
  }
  for (const auto& [column, least] : {std::pair(label, std::size_t{16}), std::pair(result, std::size_t{22}), std::pair(name, std::size_t{10})}) {
    if (total <= width) return;
    const std::size_t wanted = std::min(widths[column], std::max(least, widths[column] - std::min(widths[column], total - width)));
    for (auto& row : table.rows) row[column] = cut_to(row[column], wanted);
    total -= widths[column] - wanted;
  }
}

/// "12 runs: 10 done, 2 failed; 3 h 05 min of work".
std::string totals_of(const std::vector<storage::IndexedRun>& runs) {
  std::map<std::string, int> states;
  double seconds = 0;
  for (const auto& run : runs) {
    ++states[state_of(run)];
    if (std::isfinite(run.status.seconds)) seconds += run.status.seconds;
  }
  std::string counts;
  for (const auto& [state, count] : states) counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, state);
  return fmt::format("{} {}: {}; {} of work", runs.size(), runs.size() == 1 ? "run" : "runs", counts, format_duration(seconds));
}

/// The newest run is the last line above the totals.
void print_text(const std::vector<storage::IndexedRun>& runs, std::size_t width) {
  TextTable table;
  for (const char* header : {"id", "name", "label", "state", "started", "duration", "result"}) {
    table.columns.push_back({header, TextTable::Align::left});
  }
  for (const auto& run : runs) {
    if (!run.problem.empty()) {
      table.rows.push_back({run.id, "-", "-", state_of(run), "-", "-", run.problem});
      continue;
    }
    const std::string duration = std::isfinite(run.status.seconds) ? format_duration(run.status.seconds) : "-";
    table.rows.push_back({run.id, run.name, run.label, state_of(run), run.status.created_at, duration, headline_text(run.headline)});
  }
  if (width > 0) fit_width(table, width);
  std::fputs(table.print(TextTable::Format::text).c_str(), stdout);
  std::printf("\n%s\n", totals_of(runs).c_str());
}

bool is_wanted(const storage::IndexedRun& run, const Options& options) {
  return (options.selection.experiment.empty() || run.name == options.selection.experiment) && (options.state.empty() || state_of(run) == options.state) &&
         (options.method.empty() || run.methods.find(options.method) != std::string::npos) &&
         (options.since.empty() || run.status.created_at >= options.since);
}

void run(const Options& options) {
  auto runs = storage::indexed_runs(options.selection.store);
  std::erase_if(runs, [&](const auto& run) { return !is_wanted(run, options); });
  if (!options.where.empty()) runs = storage::runs_where(std::move(runs), options.where);
  if (options.is_json) {
    Json described = Json::array();
    for (const auto& run : runs) described.push_back(describe(run));
    print_json({{"store", options.selection.store}, {"runs", std::move(described)}});
  } else if (runs.empty()) {
    std::printf("no runs in '%s'\n", options.selection.store.c_str());
  } else {
    print_text(runs, static_cast<std::size_t>(options.width));
  }
}

}  // namespace

void add_list_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("list", "All runs of the store: state, duration, result");
  options->selection.add_store_option(*command);
  command->add_option("--experiment", options->selection.experiment, "Only runs of the experiment with this name");
  command->add_option("--state", options->state, "Only runs in this state")
      ->check(CLI::IsMember({"created", "running", "interrupted", "done", "failed", "lost", "broken"}));
  command->add_option("--method", options->method, "Only runs with a layer by this method (or a part of its name)");
  command->add_option("--since", options->since, "Only runs made at this time (UTC) or later: 2026-11-24, 2026-11-24T05:13");
  command->add_option("--where", options->where,
                      "Only runs for which this SQL expression holds. Columns: id, name, label, question, model, cell, methods, state, reason, "
                      "created, updated, seconds, perplexity, dataset, protocol; parameter(NAME) is what a sweep varies");
  command->add_option("--width", options->width, "Characters of a line, at which long texts are cut; 0: no limit (default: the terminal's, none in a file)")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", options->is_json, "One JSON object on standard output");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
