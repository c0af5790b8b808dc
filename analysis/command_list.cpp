#include <cstdio>
#include <memory>

#include "analysis/commands.hpp"
#include "analysis/json_output.hpp"
#include "analysis/results.hpp"
#include "analysis/run_selection.hpp"
#include "analysis/text_table.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  RunSelection selection;
  bool is_json = false;
};

/// The number a run is judged by: the last perplexity of its compressed model, else of the dense one.
std::optional<Metric> headline(const std::vector<Metric>& metrics) {
  const Metric* best = nullptr;
  for (const auto& metric : metrics) {
    if (metric.name != "eval/perplexity" || !metric.layer.empty()) continue;
    if (!best || metric.stage > best->stage) best = &metric;
  }
  if (!best) return std::nullopt;
  return last_metric(metrics, measure_of(*best), best->stage, best->stage);
}

Json describe(const storage::RunListing& listing) {
  const storage::RunReader run(listing.folder);
  const auto description = run.description();
  const auto status = run.status();
  const auto metric = headline(run.metrics("eval/perplexity"));
  return {{"id", listing.id},
          {"name", description.name},
          {"label", description.label},
          {"state", storage::to_string(status.state)},
          {"reason", status.reason},
          {"started", status.created_at},
          {"seconds", json_number(status.seconds)},
          {"headline", metric ? json_metric(*metric) : Json(nullptr)}};
}

/// A run that cannot be read is listed with the reason.
Json describe_or_problem(const storage::RunListing& listing) {
  try {
    return describe(listing);
  } catch (const Error& error) {
    return {{"id", listing.id}, {"state", "broken"}, {"problem", error.what()}};
  }
}

std::string headline_text(const Json& run) {
  const Json& metric = run["headline"];
  if (metric.is_null()) return "-";
  const std::string value =
      metric["value"].is_number() ? format_number(metric["value"]) : metric["value"].get<std::string>();
  const std::string dataset = metric["dataset"].get<std::string>();
  return fmt::format("perplexity {}{}{}", value, dataset.empty() ? "" : " on " + dataset,
                     metric["stage"] == -1 ? " (dense)" : "");
}

void print_text(const Json& runs) {
  TextTable table;
  for (const char* header : {"id", "name", "label", "state", "started", "duration", "result"}) {
    table.columns.push_back({header, TextTable::Align::left});
  }
  for (const Json& run : runs) {
    if (run["state"] == "broken") {
      table.rows.push_back({run["id"], "-", "-", "broken", "-", "-", run["problem"]});
      continue;
    }
    const std::string duration = run["seconds"].is_number() ? format_duration(run["seconds"]) : "-";
    table.rows.push_back(
        {run["id"], run["name"], run["label"], run["state"], run["started"], duration, headline_text(run)});
  }
  std::fputs(table.print(TextTable::Format::text).c_str(), stdout);
}

void run(const Options& options) {
  Json runs = Json::array();
  for (const auto& listing : storage::list_run_folders(options.selection.store)) {
    Json run = describe_or_problem(listing);
    const bool is_wanted =
        options.selection.experiment.empty() || run.value("name", "") == options.selection.experiment;
    if (is_wanted) runs.push_back(std::move(run));
  }
  if (options.is_json) {
    print_json({{"store", options.selection.store}, {"runs", std::move(runs)}});
  } else if (runs.empty()) {
    std::printf("no runs in '%s'\n", options.selection.store.c_str());
  } else {
    print_text(runs);
  }
}

}  // namespace

void add_list_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("list", "All runs of the store: state, duration, result");
  options->selection.add_store_option(*command);
  command->add_option("--experiment", options->selection.experiment, "Only runs of the experiment with this name");
  command->add_flag("--json", options->is_json, "One JSON object on standard output");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
