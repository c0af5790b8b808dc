#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <tuple>

#include "experiments/commands.hpp"
#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/known_cells.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/scale_estimate.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::experiments {
namespace {

using nlohmann::json;

json to_json(const ModelSize& size) {
  return {{"parameters", size.parameters},
          {"parameters_without_head", size.parameters_without_head},
          {"stored_bytes", size.stored_bytes},
          {"is_bound", size.is_bound}};
}

json to_json(const ScaleEstimate& estimate) {
  json parts = json::array();
  for (const auto& part : estimate.parts) {
    parts.push_back({{"part", part.name},
                     {"stage", part.stage},
                     {"seconds", part.seconds},
                     {"memory_bytes_per_rank", part.memory_bytes},
                     {"moved_bytes", part.moved_bytes},
                     {"read_bytes", part.read_bytes}});
  }
  return {{"seconds", estimate.seconds()},
          {"memory_bytes_per_rank", estimate.memory_bytes()},
          {"moved_bytes", estimate.moved_bytes()},
          {"read_bytes", estimate.read_bytes()},
          {"parts", parts},
          {"limits", estimate.limits}};
}

/// A run of the sweep, all that is known of it.
struct Planned {
  const config::RunSpec& run;
  const ExperimentSpec& spec;
  const CompressionPlan& plan;
  const KnownCell& known;
  const ScaleEstimate& estimate;
  double core_seconds = 0.0;  ///< of one rank with one core

  bool is_done() const { return known.state == "done"; }
  double seconds() const { return known.mean_seconds.value_or(estimate.seconds()); }
};

json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }

KnownCell unread_cell() {
  KnownCell known;
  known.missing = "neither the model nor the texts were read", known.state = "unknown";
  return known;
}

json to_json(const Planned& planned) {
  const auto& [run, spec, plan, known, estimate, core_seconds] = planned;
  json stages = json::array();
  for (const auto& stage : plan.stages) {
    json layers = json::array();
    for (const auto& layer : stage.layers) {
      layers.push_back({{"name", layer.name},
                        {"rows", layer.rows},
                        {"cols", layer.cols},
                        {"parameters_before", layer.parameters_before},
                        {"parameters_after", layer.parameters_after},
                        {"bytes_after", layer.bytes_after},
                        {"is_bound", layer.has_bound}});
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
          {"memory_bytes_per_rank", static_cast<Index>(estimate.memory_bytes())},
          {"core_seconds", core_seconds},
          {"estimate", to_json(estimate)},
          {"mean_seconds", known.mean_seconds ? json(*known.mean_seconds) : json()},
          {"runs_measured", known.num_measured}};
}

/// What a run is to be done with.
struct Resources {
  int ranks = 1, threads = 1;
  MachineRates rates;

  std::string text() const {
    return fmt::format("{} rank(s) of {} core(s), at {}", ranks, threads,
                       rates.is_measured() ? fmt::format("the rates of '{}'", rates.origin)
                                           : "assumed rates of an ordinary cluster (measure yours: kronlab profile --out FILE.toml)");
  }
};

Resources resources_of(const comm::Communicator& world, const CheckArguments& arguments) {
  Resources resources;
  if (!arguments.machine.empty()) resources.rates = MachineRates::read(arguments.machine);
  resources.ranks = arguments.ranks > 0 ? arguments.ranks : world.size();
  resources.threads = arguments.threads > 0 ? arguments.threads : resources.rates.threads;
  return resources;
}

/// Of the files with the model's weights; 0 where they are not there.
double weight_bytes(const ModelAccess& model) {
  double bytes = 0;
  if (!model.files().has_weights()) return bytes;
  for (const auto& tensor : model.files().tensors().tensors()) bytes += static_cast<double>(tensor.stored_bytes);
  return bytes;
}

std::string grouped(Index number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string size_text(const ModelSize& size) {
  std::string text =
      fmt::format("{}{} parameters, {:.1f} MB", size.is_bound ? "at most " : "", grouped(size.parameters), static_cast<double>(size.stored_bytes) / 1e6);
  if (size.parameters_without_head != size.parameters)
    text += fmt::format(" ({} without the head)", grouped(size.parameters_without_head));
  return text;
}

std::string time_text(const Planned& planned, const Resources& resources) {
  if (planned.known.mean_seconds) {
    return fmt::format("{} as the mean of {} finished run(s) of this kind", format_duration(*planned.known.mean_seconds), planned.known.num_measured);
  }
  return fmt::format("{} on {} (no finished run of this kind in the store)", format_duration(planned.estimate.seconds()), resources.text());
}

void print_parts(const ScaleEstimate& estimate) {
  using enum TextTable::Align;
  TextTable table{{{"part", left}, {"stage", right}, {"time", right}, {"memory per rank", right}, {"moved by MPI", right}, {"read from files", right}}, {}};
  const auto row = [&](const std::string& name, Index stage, const auto& of) {
    const auto [seconds, memory, moved, read] = of;
    table.rows.push_back({name, stage < 0 ? "" : std::to_string(stage), format_duration(seconds), format_bytes(memory), format_bytes(moved),
                          format_bytes(read)});
  };
  for (const auto& part : estimate.parts) row(part.name, part.stage, std::tuple(part.seconds, part.memory_bytes, part.moved_bytes, part.read_bytes));
  row("all", -1, std::tuple(estimate.seconds(), estimate.memory_bytes(), estimate.moved_bytes(), estimate.read_bytes()));
  std::istringstream lines(table.print(TextTable::Format::text));
  for (std::string line; std::getline(lines, line);) fmt::print("    {}\n", line);
  for (const auto& limit : estimate.limits) fmt::print("    limit: {}\n", limit);
}

void print(const Planned& planned, const Resources& resources) {
  const auto& [run, spec, plan, known, estimate, core_seconds] = planned;
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
      fmt::print("    {:<{}}  {:>6} x {:<6}  {:>12} -> {:>12}  {:5.1f} %{}\n", layer.name, width, layer.rows, layer.cols,
                 grouped(layer.parameters_before), grouped(layer.parameters_after),
                 100.0 * static_cast<double>(layer.parameters_after) / static_cast<double>(layer.parameters_before), layer.has_bound ? " at most" : "");
    }
    fmt::print("    model after it: {}\n", size_text(stage.after));
  }
  for (const auto& evaluation : spec.evaluations)
    fmt::print("  evaluate on {}: {}\n", evaluation.name, evaluation.protocol.name());
  fmt::print("  estimated: {:.1f} GB of memory per rank, {}\n", estimate.memory_bytes() / 1e9, time_text(planned, resources));
  print_parts(estimate);
  fmt::print("\n");
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
    const auto resources = resources_of(world, arguments);
    KnownCells cells(arguments.store);
    Total total;
    for (const auto& run : runs) {
      const auto spec = ExperimentSpec::read(run.config, folder);
      const ModelAccess model(spec.model.path);
      const auto plan = CompressionPlan::make(spec, model.config());
      const auto known = arguments.reads_contents ? cells.find(spec, model.files()) : unread_cell();
      const double bytes = weight_bytes(model);
      const auto estimate = estimate_scale(spec, plan, bytes, resources.rates, resources.ranks, resources.threads);
      const Planned planned{run, spec, plan, known, estimate, estimate_scale(spec, plan, bytes, resources.rates, 1, 1).seconds()};
      total.add(planned);
      if (arguments.as_json) {
        all.push_back(to_json(planned));
      } else {
        print(planned, resources);
      }
    }
    if (arguments.as_json) {
      const json whole = {{"file", arguments.sweep.file},     {"store", arguments.store}, {"ranks", resources.ranks}, {"threads", resources.threads},
                          {"machine", text_or_null(resources.rates.origin)}, {"runs", all}};
      fmt::print("{}\n", whole.dump(2));
    } else {
      fmt::print("{}: {}\n", arguments.sweep.file, total.text());
    }
  });
  return 0;
}

}  // namespace kronlab::experiments
