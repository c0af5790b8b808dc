#include <algorithm>
#include <filesystem>

#include "experiments/commands.hpp"
#include "experiments/ended_run.hpp"
#include "experiments/job_pool.hpp"
#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/run_experiment.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/stop_request.hpp"

namespace kronlab::experiments {
namespace {

EndedRun run_one(const comm::Communicator& world, const config::RunSpec& spec, const RunOptions& options) {
  EndedRun ended;
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
      if (arguments.must_measure && std::ranges::none_of(spec.stages, [](const StageSpec& stage) { return stage.sensitivity.has_value(); })) {
        throw ConfigError(fmt::format("{}: run '{}' has no stage whose layers are measured alone: give [stage.sensitivity], or use `kronlab run`", arguments.sweep.file, run.label));
      }
    }
  });
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
  if (arguments.jobs > 1) {
    const auto all = comm::coordinate(world, [&] {
      if (world.size() > 1) throw ConfigError(fmt::format("--jobs {}: this is one of {} ranks; expected one process, which starts the others", arguments.jobs, world.size()));
      return run_by_jobs(arguments, specs.size());
    });
    print_ended(arguments, specs.size(), all);
    return all.size() == specs.size() ? exit_code_of(all) : static_cast<int>(StopRequest::is_stop_wanted() ? ExitCode::checkpointed : ExitCode::failed);
  }
  std::vector<EndedRun> all;
  const double started_s = now_s();
  const auto is_stopped = [&] { return !all.empty() && all.back().code == ExitCode::checkpointed; };
  for (std::size_t i = 0; i < specs.size() && !is_stopped(); ++i) {
    if (specs.size() > 1) log_info(fmt::format("== run {} of {}: {}", i + 1, specs.size(), specs[i].label));
    all.push_back(run_one(world, specs[i], options));
    const double elapsed_s = now_s() - started_s;
    if (const auto left = seconds_left(all, specs.size(), elapsed_s, arguments.one_of); left && i + 1 < specs.size()) {
      log_info(fmt::format("{} of {} runs after {}, about {} left", i + 1, specs.size(), format_duration(elapsed_s), format_duration(*left)));
    }
  }
  for (std::size_t i = 0; i < all.size() && !is_stopped(); ++i) {  // what other jobs held may be done now, or given up
    if (all[i].is_held()) all[i] = run_one(world, specs[i], options);
  }
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    print_ended(arguments, specs.size(), all);
  });
  return exit_code_of(all);
}

}  // namespace kronlab::experiments
