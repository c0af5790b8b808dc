#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "experiments/commands.hpp"
#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/known_cells.hpp"
#include "experiments/pipeline/memory_estimate.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {
namespace {

using nlohmann::json;

/// Multiply-adds per second of one core that the estimates of time assume: an ordinary CPU, float32.
constexpr double assumed_rate = 25e9;

/// Tokens that a stage trains on; those of a text by its size.
double training_tokens(const DistillSpec& distill, const TrainingTextSpec& text) {
  if (distill.tokens) return static_cast<double>(*distill.tokens);
  if (distill.steps) return static_cast<double>(*distill.steps * distill.trainer.tokens_per_step());
  double bytes = 0;
  for (const auto& path : text.paths) {
    std::error_code unknown;
    const auto size = std::filesystem::file_size(path, unknown);
    bytes += unknown ? 1e6 : static_cast<double>(size);
  }
  return *distill.epochs * bytes / 4.5;
}

/// Seconds on one core, roughly: evaluations, calibration, decompositions and trainings by their multiply-adds.
double estimated_core_seconds(const ExperimentSpec& spec, const CompressionPlan& plan) {
  double work = 0;
  const auto parameters = static_cast<double>(plan.dense.parameters);
  for (const auto& evaluation : spec.evaluations) {
    std::error_code unknown;
    const auto bytes = std::filesystem::file_size(evaluation.path, unknown);
    const double all = unknown ? 300'000.0 : static_cast<double>(bytes) / 4.5;
    const double wanted = static_cast<double>(evaluation.max_windows * evaluation.protocol.window);
    const double repeats =
        static_cast<double>(evaluation.protocol.window) / static_cast<double>(evaluation.protocol.stride);
    work +=
        (wanted > 0 ? std::min(wanted, all) : all) * repeats * parameters * static_cast<double>(1 + spec.stages.size());
  }
  if (spec.calibration) work += 2.0 * static_cast<double>(spec.calibration->text.tokens) * parameters;
  for (const auto& stage : plan.stages) {
    for (const auto& layer : stage.layers) work += layer.cost;
  }
  for (const auto& stage : spec.stages) {  // a backward pass is two forward passes
    if (stage.distill) work += training_tokens(*stage.distill, *spec.training_text) * parameters * (stage.distill->losses.needs_teacher() ? 4 : 3);
  }
  return work / assumed_rate;
}

json to_json(const ModelSize& size) {
  return {{"parameters", size.parameters},
          {"parameters_without_head", size.parameters_without_head},
          {"stored_bytes", size.stored_bytes}};
}

/// A run of the sweep, all that is known of it.
struct Planned {
  const config::RunSpec& run;
  const ExperimentSpec& spec;
  const CompressionPlan& plan;
  const KnownCell& known;
  Index memory_bytes = 0;
  double core_seconds = 0.0;

  bool is_done() const { return known.state == "done"; }
  double seconds() const { return known.mean_seconds.value_or(core_seconds); }
};

json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }

json to_json(const Planned& planned) {
  const auto& [run, spec, plan, known, memory_bytes, core_seconds] = planned;
  json stages = json::array();
  for (const auto& stage : plan.stages) {
    json layers = json::array();
    for (const auto& layer : stage.layers) {
      layers.push_back({{"name", layer.name},
                        {"rows", layer.rows},
                        {"cols", layer.cols},
                        {"parameters_before", layer.parameters_before},
                        {"parameters_after", layer.parameters_after},
                        {"bytes_after", layer.bytes_after}});
    }
    stages.push_back(
        {{"name", stage.name}, {"method", stage.method}, {"layers", layers}, {"after", to_json(stage.after)}});
  }
  return {{"label", run.label},
          {"experiment", spec.name},
          {"cell", text_or_null(known.cell)},
          {"missing", text_or_null(known.missing)},
          {"state", known.state},
          {"reason", text_or_null(known.reason)},
          {"id", text_or_null(known.run_id)},
          {"parameters", run.parameters},
          {"model", spec.model.path},
          {"teacher", to_json(plan.teacher)},
          {"dense", to_json(plan.dense)},
          {"stages", stages},
          {"memory_bytes_per_rank", memory_bytes},
          {"core_seconds", core_seconds},
          {"mean_seconds", known.mean_seconds ? json(*known.mean_seconds) : json()},
          {"runs_measured", known.num_measured}};
}

std::string grouped(Index number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string size_text(const ModelSize& size) {
  std::string text =
      fmt::format("{} parameters, {:.1f} MB", grouped(size.parameters), static_cast<double>(size.stored_bytes) / 1e6);
  if (size.parameters_without_head != size.parameters)
    text += fmt::format(" ({} without the head)", grouped(size.parameters_without_head));
  return text;
}

std::string time_text(const Planned& planned) {
  if (planned.known.mean_seconds) {
    return fmt::format("{} as the mean of {} finished run(s) of this kind", format_duration(*planned.known.mean_seconds), planned.known.num_measured);
  }
  return fmt::format("{} on one core at {:.0f} GFLOP/s (no finished run of this kind in the store)", format_duration(planned.core_seconds), 2 * assumed_rate / 1e9);
}

void print(const Planned& planned) {
  const auto& [run, spec, plan, known, memory_bytes, core_seconds] = planned;
  fmt::print("run: {}\n", run.label);
  fmt::print("  cell     {}\n", known.cell.empty() ? "unknown: " + known.missing : known.cell);
  fmt::print("  state    {}{}{}{}{}\n", known.state, known.run_id.empty() ? "" : ", ", known.run_id, known.reason.empty() ? "" : ": ", known.reason);
  for (const auto& [name, value] : run.parameters) fmt::print("  varies   {} = {}\n", name, value);
  fmt::print("  model    {}\n           {}\n", spec.model.path, size_text(plan.teacher));
  if (plan.dense.parameters != plan.teacher.parameters) fmt::print("  student  {}\n", size_text(plan.dense));
  for (const auto& stage : plan.stages) {
    fmt::print("  {}: {}\n", stage.name, stage.method);
    std::size_t width = 5;
    for (const auto& layer : stage.layers) width = std::max(width, layer.name.size());
    for (const auto& layer : stage.layers) {
      fmt::print("    {:<{}}  {:>6} x {:<6}  {:>12} -> {:>12}  {:5.1f} %\n", layer.name, width, layer.rows, layer.cols,
                 grouped(layer.parameters_before), grouped(layer.parameters_after),
                 100.0 * static_cast<double>(layer.parameters_after) / static_cast<double>(layer.parameters_before));
    }
    fmt::print("    model after it: {}\n", size_text(stage.after));
  }
  for (const auto& evaluation : spec.evaluations)
    fmt::print("  evaluate on {}: {}\n", evaluation.name, evaluation.protocol.name());
  fmt::print("  estimated: {:.1f} GB of memory per rank, {}\n\n", static_cast<double>(memory_bytes) / 1e9, time_text(planned));
}

/// What a sweep's runs add up to.
struct Total {
  std::size_t num_runs = 0, num_done = 0, num_measured = 0;
  double seconds = 0.0;  ///< of those that are not done

  void add(const Planned& planned) {
    ++num_runs;
    if (planned.is_done()) return void(++num_done);
    seconds += planned.seconds();
    num_measured += planned.known.mean_seconds.has_value();
  }
  std::string text() const {
    const std::size_t num_left = num_runs - num_done;
    std::string line = fmt::format("{} run(s), all can be done; {} done before", num_runs, num_done);
    if (num_left == 0) return line;
    return line + fmt::format(", {} to do in about {} ({} of them timed by finished runs of the same kind: model, texts, precision, methods, length of training)",
                              num_left, format_duration(seconds), num_measured);
  }
};

}  // namespace

int check(const comm::Communicator& world, const CheckArguments& arguments) {
  const auto runs = load_sweep(world, arguments.sweep);
  const std::string parent = std::filesystem::path(arguments.sweep.file).parent_path().string(), folder = parent.empty() ? "." : parent;
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    json all = json::array();
    KnownCells cells(arguments.store);
    Total total;
    for (const auto& run : runs) {
      const auto spec = ExperimentSpec::read(run.config, folder);
      const ModelAccess model(spec.model.path);
      const auto plan = CompressionPlan::make(spec, model.config());
      const auto known = cells.find(spec, model.files());
      const Planned planned{run, spec, plan, known, estimated_memory_bytes(spec, plan, arguments.ranks > 0 ? arguments.ranks : world.size()), estimated_core_seconds(spec, plan)};
      total.add(planned);
      if (arguments.as_json) {
        all.push_back(to_json(planned));
      } else {
        print(planned);
      }
    }
    if (arguments.as_json) {
      fmt::print("{}\n", json{{"file", arguments.sweep.file}, {"store", arguments.store}, {"runs", all}}.dump(2));
    } else {
      fmt::print("{}: {}\n", arguments.sweep.file, total.text());
    }
  });
  return 0;
}

}  // namespace kronlab::experiments
