#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "experiments/commands.hpp"
#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/run_experiment.hpp"
#include "experiments/pipeline/summary_table.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/stop_request.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::experiments {
namespace {

using nlohmann::json;

/// How a run of the sweep ended.
struct Ended {
  RunSummary summary;
  std::string error;  ///< empty: done
  ExitCode code = ExitCode::done;
  bool is_done() const { return error.empty() && !is_held(); }
  bool is_held() const { return !summary.held_by.empty(); }
  const char* state() const {
    if (is_held()) return "held";
    return code == ExitCode::done ? "done" : code == ExitCode::checkpointed ? "interrupted" : "failed";
  }
};

Ended run_one(const comm::Communicator& world, const config::RunSpec& spec, const RunOptions& options) {
  Ended ended;
  try {
    run_experiment(world, spec, options, ended.summary);
  } catch (const CollectiveError& error) {  // the same on all ranks: the others of the sweep go on
    ended.error = error.what(), ended.code = exit_code(error);
    if (error.cause() == CollectiveError::Cause::environment)
      ended.error += fmt::format(" (store '{}'; once that is put right, the same command goes on from what is finished)", options.store_path);
    log_error(fmt::format("{} failed: {}", spec.label, ended.error));
  } catch (const Interrupted& stop) {
    log_info(stop.what());
    ended.error = stop.what(), ended.code = ExitCode::checkpointed;
  }
  return ended;
}

/// A file that cannot work is refused before any run of it starts.
void expect_all_can_be_done(const comm::Communicator& world, const std::vector<config::RunSpec>& runs,
                            const std::string& folder, const RunArguments& arguments) {
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    for (const auto& run : runs) {
      const auto spec = ExperimentSpec::read(run.config, folder);
      CompressionPlan::make(spec, ModelAccess(spec.model.path).config());
      const bool trains = std::ranges::any_of(spec.stages, [](const StageSpec& stage) { return stage.distill.has_value(); });
      if (arguments.must_train && !trains) {
        throw ConfigError(fmt::format("{}: run '{}' has no stage that trains: give [stage.distill], or use `kronlab run`", arguments.sweep.file, run.label));
      }
    }
  });
}

/// What a run came to: its perplexities with those of the dense model, its size and its time.
json results_of(const std::string& folder) {
  std::vector<storage::RunReader> readers;
  readers.emplace_back(folder);
  const auto results = storage::results_of(readers);
  const auto row = std::ranges::find(results.rows, false, &storage::ResultRow::is_dense);
  const auto dense = std::ranges::find(results.rows, true, &storage::ResultRow::is_dense);
  json measured = json::array();
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    const auto& measure = results.measures[m];
    json entry = {{"name", measure.name}, {"unit", measure.unit}, {"dataset", measure.dataset}, {"protocol", measure.protocol}};
    const auto add = [&](const char* key, const auto& of) {
      if (of == results.rows.end() || !of->measured[m]) return;
      entry[key] = of->measured[m]->value;
      if (of->measured[m]->standard_error) entry[fmt::format("{}_standard_error", key)] = *of->measured[m]->standard_error;
    };
    add("value", row), add("dense", dense);
    measured.push_back(std::move(entry));
  }
  json all = {{"measured", measured}};
  if (row == results.rows.end()) return all;
  const std::pair<const char*, std::optional<double>> numbers[] = {
      {"parameters", row->num_parameters}, {"stored_bytes", row->stored_bytes}, {"relative_error", row->relative_error}, {"weighted_error", row->weighted_error}, {"seconds", row->seconds}};
  for (const auto& [key, value] : numbers) {
    if (value) all[key] = *value;
  }
  return all;
}

json to_json(const Ended& ended) {
  const auto& summary = ended.summary;
  json run = {{"label", summary.label}, {"state", ended.state()}, {"done_before", summary.was_done_before}};
  for (const auto& [key, text] : {std::pair{"id", &summary.id}, {"cell", &summary.cell}, {"folder", &summary.folder}, {"error", &ended.error}, {"held_by", &summary.held_by}}) {
    if (!text->empty()) run[key] = *text;
  }
  if (ended.is_done()) run["results"] = results_of(summary.folder);
  return run;
}

void print_json(const RunArguments& arguments, const std::vector<Ended>& all) {
  json runs = json::array();
  for (const auto& ended : all) runs.push_back(to_json(ended));
  fmt::print("{}\n", json{{"file", arguments.sweep.file}, {"store", arguments.store}, {"runs", runs}}.dump(2));
}

/// "e.toml: 3 of 4 run(s) done (1 before), 1 failed; store 'kronlab-store'".
std::string result_line(const RunArguments& arguments, std::size_t num_runs, const std::vector<Ended>& all) {
  std::map<std::string, std::size_t> counts;
  std::size_t num_before = 0;
  for (const auto& ended : all) ++counts[ended.state()], num_before += ended.summary.was_done_before;
  std::string line = fmt::format("{}: {} of {} run(s) done ({} before)", arguments.sweep.file, counts["done"], num_runs, num_before);
  for (const auto& [state, count] : counts) {
    if (state != "done") line += fmt::format(", {} {}", count, state);
  }
  return line + fmt::format("; store '{}'", arguments.store);
}

void print_table(const RunArguments& arguments, const std::vector<Ended>& all) {
  std::vector<std::string> ids;
  for (const auto& ended : all) {
    if (ended.is_done()) ids.push_back(ended.summary.id);
  }
  fmt::print("{}", summary_table(arguments.store, ids));
  for (const auto& ended : all) {
    if (!ended.error.empty()) fmt::print("{}: {}: {}\n", ended.state(), ended.summary.label, ended.error);
    if (ended.is_held()) fmt::print("held: {}: left to {}, which works on it\n", ended.summary.label, ended.summary.held_by);
  }
}

/// All wrong in the same way is a wrong file; else some run failed. The last one tells whether a signal ended the sweep.
int code_of(const std::vector<Ended>& all) {
  if (!all.empty() && all.back().code == ExitCode::checkpointed) return static_cast<int>(ExitCode::checkpointed);
  std::set<ExitCode> codes;
  for (const auto& ended : all) codes.insert(ended.code);
  return static_cast<int>(codes.size() == 1 ? *codes.begin() : ExitCode::failed);
}

}  // namespace

int run(const comm::Communicator& world, const RunArguments& arguments) {
  if (arguments.is_quiet) quiet_log();
  const std::string parent = std::filesystem::path(arguments.sweep.file).parent_path().string(), folder = parent.empty() ? "." : parent;
  auto specs = load_sweep(world, arguments.sweep);
  if (!arguments.cells.empty()) specs = runs_of_cells(world, std::move(specs), arguments.cells, folder);
  const RunOptions options{arguments.store, folder, arguments.command_line, arguments.threads, arguments.max_failures,
                           std::make_shared<storage::RunCache>(arguments.store)};
  expect_all_can_be_done(world, specs, options.config_folder, arguments);
  StopRequest::install_handlers();
  std::vector<Ended> all;
  const double started_s = now_s();
  const auto is_stopped = [&] { return !all.empty() && all.back().code == ExitCode::checkpointed; };
  for (std::size_t i = 0; i < specs.size() && !is_stopped(); ++i) {
    if (specs.size() > 1) log_info(fmt::format("== run {} of {}: {}", i + 1, specs.size(), specs[i].label));
    all.push_back(run_one(world, specs[i], options));
    const double elapsed_s = now_s() - started_s;
    const auto left = static_cast<double>(specs.size() - i - 1) / static_cast<double>(i + 1) * elapsed_s;
    if (i + 1 < specs.size())
      log_info(fmt::format("{} of {} runs after {}, about {} left", i + 1, specs.size(), format_duration(elapsed_s),
                           format_duration(left)));
  }
  for (std::size_t i = 0; i < all.size() && !is_stopped(); ++i) {  // what other jobs held may be done now, or given up
    if (all[i].is_held()) all[i] = run_one(world, specs[i], options);
  }
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    if (arguments.as_json) return print_json(arguments, all);
    if (!arguments.is_quiet) print_table(arguments, all);
    fmt::print("{}\n", result_line(arguments, specs.size(), all));
  });
  return code_of(all);
}

}  // namespace kronlab::experiments
