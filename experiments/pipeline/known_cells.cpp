#include "experiments/pipeline/known_cells.hpp"

#include <filesystem>

#include "framework/storage/claim.hpp"

namespace kronlab::experiments {
namespace {

using config::Value;

/// What stands at some paths below a value, and that nothing is there.
std::string texts_at(const Value& value, std::initializer_list<const char*> paths) {
  std::string text;
  for (const char* path : paths) {
    const Value* found = config::value_at(value, path);
    text += fmt::format("{}={} ", path, found ? config::to_text(*found) : "");
  }
  return text;
}

/// The same for each table of a list.
std::string texts_of_each(const Value& value, const char* list, std::initializer_list<const char*> paths) {
  std::string text;
  const Value* found = config::value_at(value, list);
  const auto* items = found ? found->as<Value::Array>() : nullptr;
  if (!items) return text;
  for (const Value& item : *items) text += fmt::format("\n  {} {}", list, texts_at(item, paths));
  return text;
}

}  // namespace

std::string KnownCells::kind_of(const Value& resolved) {
  std::string kind = texts_at(resolved, {"model.path", "experiment.precision", "student.blocks", "student.config", "student.init", "data.calibration.tokens",
                                         "data.calibration.gradient_tokens", "data.calibration.sequential"});
  kind += texts_of_each(resolved, "evaluate", {"dataset.path", "protocol.window", "protocol.stride", "max_windows"});
  const Value* stages = config::value_at(resolved, "stage");
  if (!stages) return kind;
  for (const Value& stage : *stages->as<Value::Array>()) {
    kind += "\nstage " + texts_at(stage, {"layers", "decompose.kind", "permute.kind", "distill.steps", "distill.tokens", "distill.epochs", "distill.batch_tokens"});
    kind += texts_of_each(stage, "part", {"layers", "decompose.kind", "permute.kind"});
  }
  return kind;
}

KnownCells::KnownCells(const std::string& store_path) : store_path_(store_path) {
  if (std::filesystem::exists(std::filesystem::path(store_path) / "runs")) runs_ = storage::indexed_runs(store_path);
}

/// Only runs of the experiment are opened, and once.
const std::map<std::string, KnownCells::Seconds>& KnownCells::finished(const std::string& name) {
  const auto [at, is_new] = finished_.try_emplace(name);
  if (!is_new) return at->second;
  for (const auto& run : runs_) {
    if (!run.problem.empty() || run.name != name || run.status.state != storage::RunState::done) continue;
    const auto toml = storage::RunReader(run.folder).description().config_toml;
    auto& seconds = at->second[kind_of(config::parse_toml(toml, (run.folder / "config.toml").string()))];
    seconds.sum += run.status.seconds, ++seconds.count;
  }
  return at->second;
}

KnownCell KnownCells::find(const ExperimentSpec& spec, const storage::ModelFiles& model) {
  KnownCell known;
  const auto& measured = finished(spec.name);
  if (const auto found = measured.find(kind_of(spec.resolved)); found != measured.end()) {
    known.num_measured = found->second.count;
    known.mean_seconds = found->second.sum / static_cast<double>(known.num_measured);
  }
  if (spec.student.init == StudentSpec::Init::model && !model.has_weights()) {
    known.missing = fmt::format("'{}' has no weights", model.path());
    return known;
  }
  try {
    known.cell = hasher_.cell_of(spec, model);
  } catch (const StorageError& error) {
    known.missing = error.what();
    return known;
  }
  for (const auto& run : runs_) {
    if (!run.problem.empty() || run.cell != known.cell || known.state == "done") continue;
    known.run_id = run.id, known.state = storage::to_string(run.status.state), known.reason = run.status.reason;
  }
  if (known.state == "done") return known;
  if (storage::holder_state(store_path_, known.cell) == storage::HolderState::working)
    known.state = "held", known.reason = storage::holder_of(store_path_, known.cell);
  return known;
}

}  // namespace kronlab::experiments
