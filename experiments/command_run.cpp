#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "experiments/commands.hpp"
#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/run_experiment.hpp"
#include "experiments/pipeline/summary_table.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/stop_request.hpp"

namespace kronlab::experiments {
namespace {

/// How a run of the sweep ended.
struct Ended {
  RunSummary summary;
  std::string error;  ///< empty: done
  ExitCode code = ExitCode::done;
  bool is_held() const { return !summary.held_by.empty(); }
  const char* state() const {
    if (is_held()) return "held";
    return code == ExitCode::done ? "done" : code == ExitCode::checkpointed ? "interrupted" : "failed";
  }
};

Ended run_one(const comm::Communicator& world, const config::RunSpec& spec, const RunOptions& options) {
  try {
    return {run_experiment(world, spec, options), "", ExitCode::done};
  } catch (const CollectiveError& error) {  // the same on all ranks: the others of the sweep go on
    log_warning(fmt::format("{} failed: {}", spec.label, error.what()));
    return {{"", spec.label, false, ""}, error.what(), exit_code(error)};
  } catch (const Interrupted& stop) {
    log_info(stop.what());
    return {{"", spec.label, false, ""}, stop.what(), ExitCode::checkpointed};
  }
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

void print_json(const std::vector<Ended>& all) {
  nlohmann::json runs = nlohmann::json::array();
  for (const auto& ended : all) {
    nlohmann::json run = {{"label", ended.summary.label}, {"state", ended.state()}};
    if (!ended.summary.id.empty()) run["id"] = ended.summary.id;
    if (!ended.error.empty()) run["error"] = ended.error;
    run["done_before"] = ended.summary.was_done_before;
    if (ended.is_held()) run["held_by"] = ended.summary.held_by;
    runs.push_back(std::move(run));
  }
  fmt::print("{}\n", nlohmann::json{{"runs", runs}}.dump(2));
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
  const auto specs = load_sweep(world, arguments.sweep);
  const std::string folder = std::filesystem::path(arguments.sweep.file).parent_path().string();
  const RunOptions options{arguments.store, folder.empty() ? "." : folder, arguments.command_line, arguments.threads, arguments.max_failures,
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
    if (arguments.as_json) return print_json(all);
    std::vector<std::string> ids;
    for (const auto& ended : all) {
      if (ended.error.empty() && !ended.is_held()) ids.push_back(ended.summary.id);
    }
    fmt::print("{}", summary_table(arguments.store, ids));
    for (const auto& ended : all) {
      if (!ended.error.empty()) fmt::print("{}: {}: {}\n", ended.state(), ended.summary.label, ended.error);
      if (ended.is_held()) fmt::print("held: {}: left to {}, which works on it\n", ended.summary.label, ended.summary.held_by);
    }
  });
  return code_of(all);
}

}  // namespace kronlab::experiments
