#include "experiments/pipeline/run_record.hpp"

#include <algorithm>
#include <filesystem>

#include "experiments/pipeline/run_provenance.hpp"
#include "experiments/pipeline/stage_checkpoint.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/storage/array_file.hpp"
#include "framework/storage/run_database.hpp"
#include "framework/storage/run_index.hpp"
#include "framework/storage/run_reader.hpp"
#include "framework/storage/shared_arrays.hpp"

namespace kronlab::experiments {
namespace {

namespace fs = std::filesystem;
using storage::ArrayFile;

/// The model's name; with a head of its own it is another dense model.
std::string name_of_model(const ExperimentSpec& spec) {
  const std::string name = fs::path(spec.model.path).stem().string();
  return spec.model.head == ModelSpec::Head::untied ? name + ", untied head" : name;
}

storage::RunDescription description_of(const comm::Communicator& communicator, const RunOptions& options,
                                       const config::RunSpec& run, const ExperimentSpec& spec, const std::string& cell,
                                       const std::string& model_hash) {
  storage::RunDescription description;
  description.name = spec.name, description.label = run.label, description.question = spec.question,
  description.paper = spec.paper;
  description.config_toml = config::to_toml(spec.resolved);
  description.cell = cell;
  description.model_path = spec.model.path;
  description.model_name = name_of_model(spec);
  description.parameters = run.parameters;
  description.provenance = run_provenance(communicator, options.command_line, options.threads);
  description.provenance.emplace_back("model/hash", model_hash);
  description.provenance.emplace_back("seed", std::to_string(spec.seed));
  if (const auto start = spec.student.start(); !start.empty()) description.provenance.emplace_back(storage::student_start, start);
  return description;
}

/// What this rank's layers leave beside their factors: spectra, permutations and how their searches got there.
std::vector<storage::OwnedArray> own_arrays(std::size_t stage, const std::vector<LayerOutcome>& outcomes) {
  std::vector<storage::OwnedArray> arrays;
  for (const auto& outcome : outcomes) {
    if (!outcome.is_own) continue;
    const auto add = [&](const char* name, auto values, const char* axes, const char* unit) {
      const auto length = static_cast<Index>(values.size());
      arrays.push_back({fmt::format("stages/{}/layers/{}/{}", stage, outcome.name, name), {length}, std::move(values), {{"axes", axes}, {"unit", unit}}});
    };
    add("spectrum", outcome.spectrum, "term", "singular value of what was truncated");
    if (!outcome.discarded_weights.empty()) add("discarded_weights", outcome.discarded_weights, "bond", "share of the squared norm");
    if (!outcome.search) continue;
    const auto& search = *outcome.search;
    add("permutation/rows", search.rows, "position", "row of the weight");
    add("permutation/columns", search.columns, "position", "column of the weight");
    std::vector<Index> evaluations;
    std::vector<double> seconds, values;
    for (const auto& point : search.curve) evaluations.push_back(point.evaluations), seconds.push_back(point.seconds), values.push_back(point.value);
    add("search/evaluations", evaluations, "point", "candidate move");
    add("search/seconds", seconds, "point", "s");
    add("search/value", values, "point", "share of the squared norm");
  }
  return arrays;
}

/// The losses of windows, for paired tests: one group for each evaluation.
void write_evaluations(ArrayFile& file, const std::vector<storage::EvaluationRecord>& evaluations) {
  for (std::size_t e = 0; e < evaluations.size(); ++e) {
    const auto& [stage, step, dataset, protocol, data_hash, windows] = evaluations[e];
    const storage::Attributes of{{"axes", "window"}, {"stage", std::to_string(stage)}, {"step", std::to_string(step)},
                                 {"dataset", dataset}, {"protocol", protocol}, {"text SHA-256", data_hash}};
    std::vector<double> weights, losses;
    for (const auto& window : windows) weights.push_back(window.weight), losses.push_back(window.loss);
    const auto write = [&](const char* name, const std::vector<double>& values, const char* unit) {
      auto attributes = of;
      attributes["unit"] = unit;
      file.write_vector(fmt::format("evaluations/{}/{}", e, name), values, attributes);
    };
    write("weight", weights, "token, or 1 where windows are averaged");
    write("loss", losses, "nat");
  }
}

/// Copies every array of one file into another.
void copy_arrays(const std::string& from, ArrayFile& to) {
  const storage::ArrayReader reader(from);
  for (const auto& name : reader.names()) {
    const auto shape = reader.shape(name);
    const auto attributes = reader.attributes(name);
    if (reader.is_integer(name)) {
      to.write(name, shape, std::span<const Index>(reader.read_i64(name)), attributes);
    } else {
      to.write(name, shape, std::span<const double>(reader.read_f64(name)), attributes);
    }
  }
}

void expect_few_failures(const fs::path& run_folder, Index most) {
  const auto attempts = storage::RunReader(run_folder).attempts();
  const auto failures = std::ranges::count(attempts, storage::RunState::failed, &storage::AttemptRecord::state);
  if (failures < most) return;
  throw DataError(fmt::format("run {} failed {} times and is not tried again (--max-failures {}); the last time: {}", run_folder.filename().string(),
                              failures, most, attempts.back().reason));
}

void record_all(storage::RunStore& store, const Measured& measured) {
  for (const auto& metric : measured.metrics) store.record(metric);
  for (const auto& evaluation : measured.evaluations) store.record_evaluation(evaluation);
}

storage::LayerRecord record_of(std::size_t stage, const PlannedLayer& layer, const LayerOutcome& outcome) {
  storage::LayerRecord record;
  record.stage = static_cast<Index>(stage), record.layer = layer.name, record.method = layer.method;
  record.rows = layer.rows, record.cols = layer.cols;
  record.parameters_before = layer.parameters_before, record.parameters_after = layer.parameters_after;
  record.bytes_after = layer.bytes_after;
  if (layer.has_bound) record.parameters_after = outcome.size.num_parameters, record.bytes_after = outcome.size.stored_bytes;
  record.relative_error = outcome.relative_error, record.weighted_error = outcome.weighted_error;
  if (outcome.search) record.search_value = outcome.search->value, record.search_bound = outcome.search->bound;
  record.seconds = outcome.seconds;
  const auto& convergence = outcome.search ? outcome.search->convergence : outcome.convergence;
  record.convergence =
      fmt::format("{} after {}", decompositions::to_string(convergence.reason), convergence.num_iterations);
  return record;
}

}  // namespace

RunRecord::RunRecord(const comm::Communicator& communicator, const RunOptions& options, const config::RunSpec& run,
                     const ExperimentSpec& spec, const std::string& cell, const std::string& model_hash)
    : communicator_(communicator) {
  const auto description = description_of(communicator, options, run, spec, cell, model_hash);
  comm::coordinate(communicator, [&] {
    if (communicator.is_root()) open_or_create(options, description);
  });
  id_ = communicator.broadcast(std::move(id_));
  folder_ = communicator.broadcast(std::move(folder_));
  held_by_ = communicator.broadcast(std::move(held_by_));
  Index numbers[] = {is_done_ ? 1 : 0, static_cast<Index>(num_finished_), is_fresh_ ? 1 : 0};
  communicator.broadcast(std::span<Index>(numbers));
  is_done_ = numbers[0] == 1, is_fresh_ = numbers[2] == 1;
  num_finished_ = static_cast<std::size_t>(numbers[1]);
}

RunRecord::~RunRecord() {
  if (!store_) return;
  try {
    log_to_file("");
  } catch (const std::exception&) {  // the log is words only
  }
}

bool RunRecord::find_done(const RunOptions& options, const std::string& cell, std::string& unfinished) {
  unfinished.clear();  // one that was there before may have been deleted
  if (!fs::exists(fs::path(options.store_path) / "runs")) return false;
  for (const auto& run : options.known_runs ? options.known_runs->runs() : storage::indexed_runs(options.store_path)) {
    if (!run.problem.empty() || run.cell != cell) continue;
    id_ = run.id, folder_ = run.folder.string();
    is_done_ = run.status.state == storage::RunState::done;
    if (is_done_) return true;
    unfinished = run.id;
  }
  return false;
}

void RunRecord::open_or_create(const RunOptions& options, const storage::RunDescription& description) {
  std::string unfinished;
  if (find_done(options, description.cell, unfinished)) return;
  claim_ = storage::Claim::take(options.store_path, description.cell);
  if (!claim_) {
    held_by_ = storage::holder_of(options.store_path, description.cell);
    if (held_by_.empty()) held_by_ = "a job that has just ended";
    return;
  }
  if (find_done(options, description.cell, unfinished)) {  // meanwhile
    claim_.reset();
    return;
  }
  if (unfinished.empty()) {
    store_ = storage::RunStore::create(options.store_path, description);
  } else {
    expect_few_failures(fs::path(options.store_path) / "runs" / unfinished, options.max_failures);
    store_ = storage::RunStore::open(options.store_path, unfinished);
  }
  const Index attempt = store_->attempt_started();
  id_ = store_->id(), folder_ = store_->folder().string();
  num_finished_ = experiments::num_finished_stages(folder_);
  const auto first_unknown = num_finished_ + (is_compressed(folder_, num_finished_) ? 1 : 0);
  is_fresh_ = first_unknown == 0;
  store_->forget_stages_from(is_fresh_ ? -1 : static_cast<Index>(first_unknown));
  store_->set_state(storage::RunState::running);
  log_to_file(storage::attempt_log_path(store_->folder(), attempt).string());
  log_quietly(fmt::format("attempt {} of run {}, {}", attempt, id_, storage::process_for_people(storage::this_process())));
}

void RunRecord::expect_claimed() const {
  if (!fs::exists(fs::path(folder_) / "run.sqlite")) {
    throw StorageError(fmt::format("'{}' is gone: the run was deleted or moved while it went on; put it back, or run the same command again to do it anew",
                                   folder_));
  }
  if (!claim_->is_held()) throw StorageError(fmt::format("run {}: another job has taken it over: this one writes no more", id_));
}

void RunRecord::on_root(const std::function<void(storage::RunStore&)>& work) {
  comm::coordinate(communicator_, [&] {
    if (!store_) return;
    expect_claimed();
    work(*store_);
  });
}

void RunRecord::expect_current() {
  expect_claimed();
  store_->flush();  // refused where another process is the run's writer
}

void RunRecord::dense_evaluated(const Measured& measured) {
  on_root([&](storage::RunStore& store) {
    record_all(store, measured);
    store.flush();
  });
}

void RunRecord::stage_started(std::size_t stage, const std::string& name) {
  on_root([&](storage::RunStore& store) { store.stage_started(static_cast<Index>(stage), name); });
}

void RunRecord::stage_compressed(std::size_t stage, const PlannedStage& planned, const std::vector<LayerOutcome>& outcomes,
                                 const Measured& measured, const Factors& factors) {
  on_root([&](storage::RunStore&) {
    fs::create_directories(stage_folder(folder_, stage));
    write_factors(factors_path(folder_, stage).string(), factors);
  });
  storage::write_shared_arrays(communicator_, (stage_folder(folder_, stage) / "arrays.h5").string(), own_arrays(stage, outcomes));
  on_root([&](storage::RunStore& store) {
    for (std::size_t i = 0; i < outcomes.size(); ++i)
      store.record_layer(record_of(stage, planned.layers[i], outcomes[i]));
    record_all(store, measured);
    store.record_artifact(fs::relative(factors_path(folder_, stage), folder_).string(), "factors");
    store.flush();
    write_file_atomically((stage_folder(folder_, stage) / "COMPRESSED").string(), "");
    std::error_code ignored;  // arrays.h5 has the permutations now
    fs::remove_all(searches_folder(folder_, stage), ignored);
  });
}

void RunRecord::record(const std::vector<Metric>& metrics) {
  on_root([&](storage::RunStore& store) {
    for (const auto& metric : metrics) store.record(metric);
  });
}

void RunRecord::flush() {
  on_root([](storage::RunStore& store) { store.flush(); });
}

void RunRecord::forget_steps_after(std::size_t stage, Index step) {
  on_root([&](storage::RunStore& store) { store.forget_steps_after(static_cast<Index>(stage), step); });
}

void RunRecord::stage_finished(std::size_t stage, const Measured& measured, double seconds) {
  on_root([&](storage::RunStore& store) {
    record_all(store, measured);
    Metric time;
    time.name = "time/stage", time.unit = "s", time.stage = static_cast<Index>(stage), time.value = seconds;
    store.record(time);
    if (fs::exists(values_path(folder_, stage))) store.record_artifact(fs::relative(values_path(folder_, stage), folder_).string(), "values");
    store.stage_finished(static_cast<Index>(stage), seconds);
    write_file_atomically((stage_folder(folder_, stage) / "DONE").string(), "");
  });
  num_finished_ = stage + 1;
}

void RunRecord::finish() {
  on_root([&](storage::RunStore& store) {
    store.flush();
    ArrayFile file((store.folder() / "arrays.h5").string());
    for (std::size_t stage = 0; stage < num_finished_; ++stage)
      copy_arrays((stage_folder(folder_, stage) / "arrays.h5").string(), file);
    file.write_text("config.toml", read_text_file((store.folder() / "config.toml").string()));
    const storage::RunReader run(store.folder());
    file.write_metrics(run.metrics());
    write_evaluations(file, run.evaluations());
    file.close();
    store.record_artifact("arrays.h5", "arrays");
    log_quietly("done");
    store.set_state(storage::RunState::done);
  });
}

void RunRecord::ended(storage::RunState state, const std::string& reason) noexcept {
  if (!store_) return;
  try {
    log_quietly(fmt::format("{}: {}", storage::to_string(state), reason));
    store_->set_state(state, reason);
  } catch (const std::exception& error) {
    log_warning(fmt::format("that run {} is {} could not be recorded: {}", id_, storage::to_string(state), error.what()));
  }
}

void RunRecord::failed(const std::string& reason) noexcept { ended(storage::RunState::failed, reason); }

void RunRecord::interrupted(const std::string& reason) noexcept { ended(storage::RunState::interrupted, reason); }

}  // namespace kronlab::experiments
