#include <CLI/App.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <tuple>

#include "analysis/commands.hpp"
#include "analysis/json_output.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/run_database.hpp"
#include "framework/storage/run_results.hpp"
#include "framework/storage/slowdown.hpp"

namespace kronlab::analysis {
namespace {

using Align = TextTable::Align;

struct Options {
  RunSelection selection;
  std::string run;
  bool is_json = false;
};

void print_as_json(const storage::RunReader& run) {
  const auto description = run.description();
  const auto status = run.status();
  Json json = {{"id", run.id()},
               {"folder", run.folder().string()},
               {"schema", run.schema_version()},
               {"name", description.name},
               {"label", description.label},
               {"question", description.question},
               {"paper", description.paper},
               {"cell", description.cell},
               {"model", {{"name", description.model_name}, {"path", description.model_path}}},
               {"state", storage::to_string(status.state)},
               {"reason", status.reason},
               {"created", status.created_at},
               {"updated", status.updated_at},
               {"seconds", json_number(status.seconds)},
               {"varied", json_texts(description.parameters)},
               {"config_toml", description.config_toml},
               {"stages", Json::array()},
               {"layers", Json::array()},
               {"metrics", Json::array()},
               {"artifacts", Json::array()},
               {"attempts", Json::array()},
               {"evaluations", Json::array()},
               {"provenance", json_texts(description.provenance)}};
  for (const auto& stage : run.stages()) {
    json["stages"].push_back({{"stage", stage.stage},
                              {"name", stage.name},
                              {"started", stage.started_at},
                              {"finished", stage.finished_at.empty() ? Json(nullptr) : Json(stage.finished_at)},
                              {"seconds", json_number(stage.seconds)}});
  }
  for (const auto& layer : run.layers()) json["layers"].push_back(json_layer(layer));
  for (const auto& metric : run.metrics()) json["metrics"].push_back(json_metric(metric));
  for (const auto& artifact : run.artifacts()) {
    json["artifacts"].push_back(
        {{"path", artifact.path}, {"kind", artifact.kind}, {"bytes", artifact.bytes}, {"sha256", artifact.sha256}});
  }
  for (const auto& attempt : run.attempts()) {
    json["attempts"].push_back({{"number", attempt.number},
                                {"started", attempt.started_at},
                                {"ended", attempt.ended_at.empty() ? Json(nullptr) : Json(attempt.ended_at)},
                                {"process", storage::process_for_people(attempt.process)},
                                {"slurm_job", attempt.job.empty() ? Json(nullptr) : Json(attempt.job)},
                                {"state", storage::to_string(attempt.state)},
                                {"reason", attempt.reason}});
  }
  for (const auto& evaluation : run.evaluations()) {
    json["evaluations"].push_back({{"stage", evaluation.stage},
                                   {"step", evaluation.step},
                                   {"dataset", evaluation.dataset},
                                   {"protocol", evaluation.protocol},
                                   {"data_sha256", evaluation.data_sha256},
                                   {"windows", evaluation.windows.size()}});
  }
  print_json(json);
}

void print_section(const std::string& title, const TextTable& table) {
  if (table.rows.empty()) return;
  std::printf("\n%s\n\n%s", title.c_str(), table.print(TextTable::Format::text).c_str());
}

/// Names and texts in two columns; a text of several lines stays below its first one.
void print_texts(const storage::NamedTexts& texts) {
  std::size_t width = 0;
  for (const auto& [name, text] : texts) width = std::max(width, text.empty() ? 0 : display_width(name));
  for (const auto& [name, text] : texts) {
    if (text.empty()) continue;
    std::string indented;
    for (const char c : text) indented += c == '\n' ? "\n" + std::string(width + 2, ' ') : std::string(1, c);
    std::printf("%s%s  %s\n", name.c_str(), std::string(width - display_width(name), ' ').c_str(), indented.c_str());
  }
}

std::string optional_text(const std::optional<double>& value) { return value ? format_number(*value) : "-"; }

std::string stage_text(Index stage) { return stage < 0 ? "dense" : std::to_string(stage); }

TextTable stage_table(const storage::RunReader& run) {
  TextTable table{{{"stage"}, {"name"}, {"started"}, {"finished"}, {"duration", Align::right}}, {}};
  for (const auto& stage : run.stages()) {
    table.rows.push_back({stage_text(stage.stage), stage.name, stage.started_at,
                          stage.finished_at.empty() ? "-" : stage.finished_at,
                          stage.seconds ? format_duration(*stage.seconds) : "-"});
  }
  return table;
}

TextTable attempt_table(const storage::RunReader& run) {
  TextTable table{{{"attempt", Align::right}, {"started"}, {"ended"}, {"process"}, {"Slurm job"}, {"state"}, {"reason"}}, {}};
  for (const auto& attempt : run.attempts()) {
    table.rows.push_back({std::to_string(attempt.number), attempt.started_at, attempt.ended_at.empty() ? "-" : attempt.ended_at,
                          storage::process_for_people(attempt.process), attempt.job.empty() ? "-" : attempt.job, storage::to_string(attempt.state),
                          attempt.reason});
  }
  return table;
}

/// Those whose windows' losses are kept, for paired tests.
TextTable evaluation_table(const storage::RunReader& run) {
  TextTable table{{{"stage"}, {"step", Align::right}, {"dataset"}, {"protocol"}, {"windows", Align::right}}, {}};
  for (const auto& evaluation : run.evaluations()) {
    table.rows.push_back({stage_text(evaluation.stage), std::to_string(evaluation.step), evaluation.dataset, evaluation.protocol,
                          format_count(static_cast<double>(evaluation.windows.size()))});
  }
  return table;
}

/// Layers' products beside dense ones: "0.83x" by stage, layer and protocol.
std::map<std::tuple<Index, std::string, std::string>, std::string> layer_speeds(const std::vector<Metric>& metrics) {
  std::map<std::tuple<Index, std::string, std::string>, double> seconds;
  std::map<std::tuple<Index, std::string, std::string>, std::string> speeds;
  for (const auto& metric : metrics) {
    if (metric.name == "speed/seconds") seconds[{metric.stage, metric.layer, metric.protocol}] = metric.value;
  }
  for (const auto& metric : metrics) {
    if (metric.name != "speed/dense_seconds") continue;
    const auto found = seconds.find({metric.stage, metric.layer, metric.protocol});
    if (found != seconds.end()) speeds[found->first] = fmt::format("{:.2f}x", metric.value / found->second);
  }
  return speeds;
}

TextTable layer_table(const storage::RunReader& run) {
  const auto metrics = run.metrics();
  const auto protocols = storage::speed_protocols(metrics);
  const auto speeds = layer_speeds(metrics);
  TextTable table{{{"stage"}, {"layer"}, {"method"}, {"shape"}}, {}};
  for (const char* header :
       {"parameters", "after", "ratio", "stored", "rel. error", "weighted error", "search", "bound", "time [s]"}) {
    table.columns.push_back({header, Align::right});
  }
  for (std::size_t p = 0; p < protocols.size(); ++p) table.columns.push_back({fmt::format("speed [{}]", p + 1), Align::right});
  table.columns.push_back({"convergence"});
  for (const auto& layer : run.layers()) {
    const auto before = static_cast<double>(layer.parameters_before),
               after = static_cast<double>(layer.parameters_after);
    table.rows.push_back({stage_text(layer.stage), layer.layer, layer.method,
                          fmt::format("{} x {}", layer.rows, layer.cols), format_count(before), format_count(after),
                          before > 0 ? format_number(after / before, 3) : "-",
                          format_bytes(static_cast<double>(layer.bytes_after)), format_number(layer.relative_error),
                          optional_text(layer.weighted_error), optional_text(layer.search_value),
                          optional_text(layer.search_bound), format_number(layer.seconds, 3)});
    for (const auto& protocol : protocols) {
      const auto found = speeds.find({layer.stage, layer.layer, protocol});
      table.rows.back().push_back(found == speeds.end() ? "-" : found->second);
    }
    table.rows.back().push_back(layer.convergence);
  }
  return table;
}

std::string with_unit(double value, const std::string& unit) {
  if (unit == "B") return fmt::format("{} B ({})", format_count(value), format_bytes(value));
  if (unit == "1") return format_count(value);
  return format_count(value) + " " + unit;
}

/// What the layers' speeds were measured with.
void print_speed_places(const storage::RunReader& run) {
  const auto protocols = storage::speed_protocols(run.metrics());
  for (std::size_t p = 0; p < protocols.size(); ++p) std::printf("%sspeed [%zu]: of the product beside a dense one, %s\n", p == 0 ? "\n" : "", p + 1, protocols[p].c_str());
}

/// Per name, layer and place the last value of each stage: curves over steps are in the JSON and in arrays.h5.
TextTable metric_table(const storage::RunReader& run) {
  TextTable table{{{"metric"},
                   {"stage"},
                   {"value", Align::right},
                   {"± standard error", Align::right},
                   {"step", Align::right},
                   {"layer"},
                   {"dataset"},
                   {"protocol"}},
                  {}};
  std::vector<Metric> last;
  for (const auto& metric : run.metrics()) {
    if (metric.name.starts_with("speed/") && !metric.layer.empty()) continue;  // beside the layers
    const auto is_same = [&](const Metric& other) {
      return storage::measure_of(other) == storage::measure_of(metric) && other.stage == metric.stage &&
             other.layer == metric.layer;
    };
    const auto found = std::ranges::find_if(last, is_same);
    if (found == last.end()) {
      last.push_back(metric);
    } else if (metric.step >= found->step) {
      *found = metric;
    }
  }
  for (const auto& metric : last) {
    table.rows.push_back({metric.name, stage_text(metric.stage), with_unit(metric.value, metric.unit),
                          optional_text(metric.standard_error), std::to_string(metric.step), metric.layer,
                          metric.dataset, metric.protocol});
  }
  return table;
}

TextTable artifact_table(const storage::RunReader& run) {
  TextTable table{{{"path"}, {"kind"}, {"bytes", Align::right}, {"SHA-256"}}, {}};
  for (const auto& artifact : run.artifacts()) {
    table.rows.push_back(
        {artifact.path, artifact.kind, format_count(static_cast<double>(artifact.bytes)), artifact.sha256});
  }
  return table;
}

void print_text(const storage::RunReader& run) {
  const auto description = run.description();
  const auto status = run.status();
  print_texts({{"run", run.id()},
               {"experiment", description.name},
               {"label", description.label},
               {"question", description.question},
               {"paper", description.paper},
               {"model", fmt::format("{} ({})", description.model_name, description.model_path)},
               {"state", storage::to_string(status.state) + (status.reason.empty() ? "" : ": " + status.reason)},
               {"created", status.created_at},
               {"updated", status.updated_at},
               {"duration", format_duration(status.seconds)},
               {"size and speed", storage::slowdown_of(run.metrics())},
               {"cell", description.cell},
               {"folder", run.folder().string()}});
  if (!description.parameters.empty()) {
    std::printf("\nVaried\n\n");
    print_texts(description.parameters);
  }
  print_section("Attempts", attempt_table(run));
  print_section("Stages", stage_table(run));
  print_section("Layers", layer_table(run));
  print_speed_places(run);
  print_section("Metrics", metric_table(run));
  const TextTable evaluations = evaluation_table(run);
  print_section(fmt::format("Evaluations with the losses of windows: {}", evaluations.rows.size()), evaluations);
  print_section("Artifacts", artifact_table(run));
  std::printf("\nProvenance\n\n");
  print_texts(description.provenance);
  std::printf("\nConfiguration\n\n%s", description.config_toml.c_str());
  if (!description.config_toml.ends_with('\n')) std::printf("\n");
}

void run(const Options& options) {
  const auto reader = open_run(options.selection.store, options.run);
  if (options.is_json) {
    print_as_json(reader);
  } else {
    print_text(reader);
  }
}

}  // namespace

void add_show_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("show", "Everything recorded of one run");
  options->selection.add_store_option(*command);
  command->add_option("RUN", options->run, "Id, unique beginning or end of an id, or path of the run's folder")
      ->required();
  command->add_flag("--json", options->is_json, "One JSON object on standard output, with every metric");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
