#include "experiments/pipeline/run_experiment.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <optional>
#include <utility>

#include "experiments/pipeline/compress_stage.hpp"
#include "experiments/pipeline/distill_stage.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "experiments/pipeline/measurement.hpp"
#include "experiments/pipeline/model_speed.hpp"
#include "experiments/pipeline/run_identity.hpp"
#include "experiments/pipeline/run_record.hpp"
#include "experiments/pipeline/sensitivity.hpp"
#include "experiments/pipeline/shared_hash.hpp"
#include "experiments/pipeline/stage_checkpoint.hpp"
#include "experiments/pipeline/student.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/stop_request.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::experiments {
namespace {

double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

/// A training's numbers go to the run's record.
class StageTraining final : public TrainingRecord {
 public:
  StageTraining(RunRecord& record, std::size_t stage) : record_(record), stage_(stage) {}
  void record(const std::vector<Metric>& metrics) override { record_.record(metrics); }
  void flush() override { record_.flush(); }
  void expect_current() override { record_.expect_current(); }
  void forget_steps_after(Index step) override { record_.forget_steps_after(stage_, step); }

 private:
  RunRecord& record_;
  std::size_t stage_;
};

/// One run from its checked configuration to its last number.
class Job {
 public:
  Job(const comm::Communicator& communicator, const config::RunSpec& run, const RunOptions& options)
      : communicator_(communicator),
        run_(run),
        options_(options),
        spec_(comm::coordinate(communicator, [&] { return ExperimentSpec::read(run.config, options.config_folder); })),
        access_(comm::coordinate(communicator, [&] { return ModelAccess(spec_.model.path); })),
        plan_(comm::coordinate(communicator, [&] { return CompressionPlan::make(spec_, access_.config()); })) {}

  void run(RunSummary& summary) {
    const auto hash_of = [&](const std::string& path) { return hashes_of_files(communicator_, {path}).front(); };
    hashes_ = input_hashes(spec_, hash_of_model(communicator_, access_.files()), hash_of);
    summary.cell = cell_ = cell_of(spec_, hashes_);
    record_.emplace(communicator_, options_, run_, spec_, cell_, hashes_.model);
    summary.id = record_->id(), summary.folder = record_->folder();
    summary.was_done_before = record_->is_done(), summary.held_by = record_->held_by();
    if (!summary.held_by.empty()) return log_info(fmt::format("{}: left to {}, which works on it", run_.label, summary.held_by));
    if (summary.was_done_before) return log_info(fmt::format("{}: done before as {}", run_.label, summary.id));
    log_info(fmt::format("{}: {}", run_.label, summary.id));
    try {
      work();
    } catch (const Interrupted& stop) {
      record_->interrupted(stop.what());
      throw;
    } catch (const std::exception& error) {
      record_->failed(error.what());
      throw;
    }
  }

 private:
  void work() {
    texts_ = evaluation_texts(communicator_, spec_, access_, hashes_.evaluation);
    log_info(fmt::format("opening {}", spec_.model.path));
    if (spec_.needs_dense_teacher()) teacher_ = comm::coordinate(communicator_, [&] { return access_.open(); });
    model::Transformer student = comm::coordinate(communicator_, [&] { return teacher_ ? dense_student(spec_, *teacher_) : dense_student(spec_, access_); });
    evaluate_dense(student);
    const auto ids = spec_.calibration ? first_tokens(communicator_, access_, spec_.calibration->text.paths,
                                                      spec_.calibration->text.tokens)
                                       : std::vector<std::int32_t>();
    for (const auto& stage : spec_.stages) sensitivity_ids_.push_back(stage.sensitivity ? sensitivity_tokens(*stage.sensitivity) : std::vector<std::int32_t>());
    const std::size_t first = record_->num_finished_stages();
    if (first > 0) {
      comm::coordinate(communicator_, [&] { install_stage(student, record_->folder(), first - 1); });
      log_info(fmt::format("{}: {} of {} stages were done before", run_.label, first, spec_.stages.size()));
    }
    for (std::size_t stage = first; stage < spec_.stages.size(); ++stage) {
      stop_if_asked(fmt::format("{}: stopped before {}; what was finished is kept", run_.label, plan_.stages[stage].name));
      do_stage(stage, ids, student);
    }
    record_->finish();
  }

  void evaluate_dense(const model::Transformer& student) {
    Measured measured{size_metrics(plan_.dense, -1), {}};
    const auto start = spec_.student.start();
    const std::string name = start.empty() ? "dense model" : fmt::format("student of {}", start);
    for (const auto& text : texts_) {
      const auto evaluation = cached_evaluation(communicator_, options_.store_path, dense_key(spec_, hashes_), student, text,
                                                spec_.precision, fmt::format("{} on {}", name, text.spec.name));
      log_info(fmt::format("{} on {}: perplexity {:.3f} ± {:.3f}", name, text.spec.name, evaluation.perplexity,
                           evaluation.perplexity_standard_error()));
      add(measured, evaluation, text, -1, 0);
      comm::coordinate(communicator_, [&] { expect_baseline(text.spec, evaluation.perplexity); });
    }
    if (measures_speed()) std::ranges::move(dense_speed_metrics(speed_protocol()), std::back_inserter(measured.metrics));
    if (record_->is_fresh()) record_->dense_evaluated(measured);
  }

  /// Where the model runs at all and a stage may change its speed.
  bool measures_speed() const {
    return !texts_.empty() && std::ranges::any_of(plan_.stages, [](const PlannedStage& stage) { return !stage.layers.empty(); });
  }

  SpeedProtocol speed_protocol() const { return SpeedProtocol::of(plan_.config.context, plan_.dense.parameters, spec_.precision, options_.threads); }

  void expect_baseline(const EvaluationSpec& spec, double found) const {
    if (!spec.expect_dense) return;
    if (std::abs(found / *spec.expect_dense - 1.0) <= spec.expect_tolerance) return;
    throw DataError(
        fmt::format("the dense model's perplexity on {} is {:.4f}, expected {:.4f} within {} %: no compressed number "
                    "is believed on a "
                    "wrong baseline",
                    spec.name, found, *spec.expect_dense, 100 * spec.expect_tolerance));
  }

  static std::vector<Metric> size_metrics(const ModelSize& size, Index stage) {
    std::vector<Metric> metrics(3);
    const std::pair<const char*, Index> values[] = {{"size/parameters", size.parameters},
                                                    {"size/parameters_without_head", size.parameters_without_head},
                                                    {"size/stored_bytes", size.stored_bytes}};
    for (std::size_t i = 0; i < metrics.size(); ++i) {
      metrics[i].name = values[i].first, metrics[i].value = static_cast<double>(values[i].second),
      metrics[i].stage = stage;
      metrics[i].unit = i == 2 ? "B" : "1";
    }
    return metrics;
  }

  void do_stage(std::size_t stage, const std::vector<std::int32_t>& ids, model::Transformer& student) {
    const auto& planned = plan_.stages[stage];
    const auto& distill = spec_.stages[stage].distill;
    const double started_s = now_s();
    std::optional<model::Transformer> previous;  // as the stage finds it: shares all weights
    if (spec_.stages[stage].sensitivity || (distill && distill->teacher == DistillSpec::Teacher::previous)) previous = student.share();
    record_->stage_started(stage, planned.name);
    if (is_compressed(record_->folder(), stage)) {
      comm::coordinate(communicator_, [&] { install_compressed(student, record_->folder(), stage); });
      log_info(fmt::format("{}: {} layers were decomposed before", planned.name, planned.layers.size()));
    } else {
      compress(stage, ids, student);
    }
    stop_if_asked(fmt::format("{}: stopped behind its decompositions, which are kept", planned.name));
    Measured measured;
    if (spec_.stages[stage].sensitivity) measure_sensitivity(stage, *previous, student, measured);
    if (distill) {
      const bool is_taught_by_previous = distill->teacher == DistillSpec::Teacher::previous;
      train(stage, student, is_taught_by_previous ? &*previous : teacher_ ? &*teacher_ : nullptr, measured);
    } else {
      keep_values(stage, student, {});
    }
    Metric memory;
    memory.name = "memory/peak_resident", memory.unit = "B", memory.stage = static_cast<Index>(stage),
    memory.value = communicator_.max(peak_memory_bytes());
    measured.metrics.push_back(std::move(memory));
    record_->stage_finished(stage, measured, now_s() - started_s);
  }

  /// Long work between two checkpoints goes on; where it ends, all ranks stop if a signal asked any of them to.
  void stop_if_asked(const std::string& message) const {
    if (communicator_.max(Index{StopRequest::is_stop_wanted() ? 1 : 0}) == 1) throw Interrupted(message);
  }

  void compress(std::size_t stage, const std::vector<std::int32_t>& ids, model::Transformer& student) {
    const auto& planned = plan_.stages[stage];
    StageOutcome outcome;
    Measured measured;
    if (!planned.layers.empty()) {
      log_info(fmt::format("{}: {} layers by {}", planned.name, planned.layers.size(), planned.method));
      std::optional<StatisticsCache> cache;  // of the dense model only: later stages see another one
      if (stage == 0 && spec_.calibration) cache.emplace(options_.store_path, statistics_key(spec_, hashes_));
      const StageInput input{spec_, plan_, stage, ids, cache ? &*cache : nullptr, searches_folder(record_->folder(), stage)};
      outcome = compress_stage(communicator_, input, student);
      expect_planned_size(student, planned.after);
    }
    const auto factors = comm::coordinate(communicator_, [&] { return communicator_.is_root() ? factors_of(student) : Factors(); });
    measured.metrics = comm::coordinate(communicator_, [&] { return size_metrics(planned.after.is_bound ? size_with(factors) : planned.after, static_cast<Index>(stage)); });
    if (const auto predicted = spec_.stages[stage].predicted_kl) {
      Metric metric;
      metric.name = "budget/predicted_kl", metric.unit = "nat/token", metric.stage = static_cast<Index>(stage), metric.value = *predicted;
      measured.metrics.push_back(std::move(metric));
    }
    if (!planned.layers.empty()) {
      evaluate(stage, 0, planned.name, student, measured);
      if (measures_speed()) measure_speed(stage, student, measured);
    }
    comm::coordinate(communicator_, [&] {
      if (!communicator_.is_root() || outcome.moved_tensors.empty()) return;
      std::filesystem::create_directories(stage_folder(record_->folder(), stage));
      write_changed(student, outcome.moved_tensors, {}, moved_path(record_->folder(), stage).string());
    });
    record_->stage_compressed(stage, planned, outcome.layers, measured, factors);
  }

  /// Trains the student and evaluates it; what was trained so far is written beside the stage's factors.
  void train(std::size_t stage, model::Transformer& student, const model::Transformer* teacher, Measured& measured) {
    const auto& planned = plan_.stages[stage];
    const auto random = RandomStream(spec_.seed).child("distill").child(static_cast<std::uint64_t>(stage));
    TrainingText text(communicator_, *spec_.training_text, access_, options_.store_path, hashes_.distillation, random.child("text"));
    const DistillInput input{*spec_.stages[stage].distill,
                             static_cast<Index>(stage),
                             planned.name,
                             cell_,
                             stage_folder(record_->folder(), stage),
                             random,
                             spec_.precision};
    StageTraining record(*record_, stage);
    const auto outcome = distill_stage(communicator_, input, student, teacher, text, record);
    keep_values(stage, student, outcome.trained);
    Metric time, tokens;
    time.name = "distill/seconds", time.unit = "s", time.stage = static_cast<Index>(stage), time.step = outcome.num_steps,
    time.value = outcome.seconds;
    tokens = time;
    tokens.name = "distill/tokens", tokens.unit = "1";
    tokens.value = tokens_trained_before(stage) + static_cast<double>(outcome.num_steps * input.spec.trainer.tokens_per_step());
    measured.metrics.push_back(std::move(time));
    measured.metrics.push_back(std::move(tokens));
    evaluate(stage, outcome.num_steps, planned.name + ", distilled", student, measured);
  }

  /// In all stages before this one. Collective.
  double tokens_trained_before(std::size_t stage) const {
    double tokens = 0;
    comm::coordinate(communicator_, [&] {
      if (!communicator_.is_root()) return;
      for (const auto& metric : storage::RunReader(record_->folder()).metrics("distill/tokens")) {
        if (metric.name == "distill/tokens" && metric.stage < static_cast<Index>(stage)) tokens = std::max(tokens, metric.value);
      }
    });
    return communicator_.max(tokens);
  }

  /// Whole windows, and the token that the last of them predicts.
  std::vector<std::int32_t> sensitivity_tokens(const SensitivitySpec& spec) const {
    return first_tokens(communicator_, access_, spec.text.paths, spec.text.tokens / spec.text.window * spec.text.window + 1);
  }

  /// What each of the stage's layers, or blocks, costs alone.
  void measure_sensitivity(std::size_t stage, const model::Transformer& before, const model::Transformer& student, Measured& measured) const {
    const auto& spec = *spec_.stages[stage].sensitivity;
    const auto units = sensitivity_units(spec, plan_.stages[stage].layers, plan_.config.num_blocks);
    const std::string reference = stage == 0 ? dense_key(spec_, hashes_) : fmt::format("{} stage {}", cell_, stage);
    const SensitivityInput input{spec,           units,
                                 before,         student,
                                 sensitivity_ids_[stage], spec_.precision,
                                 reference + "\n" + hashes_.sensitivity[stage], std::filesystem::path(options_.store_path) / "cache" / "sensitivity",
                                 plan_.stages[stage].name};
    const auto found = measure_sensitivities(communicator_, input);
    log_info(fmt::format("{}: {}", input.what, in_words(found)));
    add(measured, found, spec, static_cast<Index>(stage));
  }

  /// All that was trained or moved so far, for whoever opens the run after this stage.
  void keep_values(std::size_t stage, model::Transformer& student, const std::vector<std::string>& trained) {
    comm::coordinate(communicator_, [&] {
      if (!communicator_.is_root()) return;
      std::vector<std::filesystem::path> earlier = {moved_path(record_->folder(), stage)};
      if (stage > 0) earlier.push_back(values_path(record_->folder(), stage - 1));
      write_changed(student, trained, earlier, values_path(record_->folder(), stage).string());
    });
  }

  void evaluate(std::size_t stage, Index step, const std::string& what, const model::Transformer& student, Measured& measured) {
    for (const auto& text : texts_) {
      const auto evaluation = eval::evaluate(communicator_, student, text.text, text.spec.protocol, text.spec.max_windows, spec_.precision,
                                             fmt::format("{} on {}", what, text.spec.name));
      log_info(fmt::format("{} on {}: perplexity {:.3f} ± {:.3f}", what, text.spec.name, evaluation.perplexity,
                           evaluation.perplexity_standard_error()));
      add(measured, evaluation, text, static_cast<Index>(stage), step);
      if (text.spec.divergence) compare(stage, step, what, student, text, measured);
    }
  }

  /// Root's numbers, as it alone records; the others leave it the machine.
  void measure_speed(std::size_t stage, const model::Transformer& student, Measured& measured) {
    comm::coordinate_root(communicator_, [&] {
      const bool has_dense = teacher_ && spec_.student.init == StudentSpec::Init::model;
      const auto dense = has_dense ? dense_student(spec_, *teacher_) : dense_twin(student);
      const auto metrics = speed_metrics(student, dense, speed_protocol(), static_cast<Index>(stage));
      for (const auto& metric : metrics) {
        if (metric.name == "speed/ratio") log_info(fmt::format("{}: {:.2f}x the dense model's speed, {}", plan_.stages[stage].name, metric.value, metric.protocol));
      }
      measured.metrics.insert(measured.metrics.end(), metrics.begin(), metrics.end());
    });
  }

  void compare(std::size_t stage, Index step, const std::string& what, const model::Transformer& student, const EvaluationText& text, Measured& measured) {
    const auto found = eval::divergence(communicator_, student, *teacher_, text.text, text.spec.protocol, text.spec.max_windows, spec_.precision,
                                        fmt::format("{} against the model as it is, on {}", what, text.spec.name));
    log_info(fmt::format("{} on {}: KL {:.4f} ± {:.4f} nat/token, same first token {:.2f} %", what, text.spec.name, found.kl.mean, found.kl.standard_error,
                         100 * found.top1_agreement.mean));
    const auto predicted = spec_.stages[stage].predicted_kl;
    if (predicted && step == 0) {
      log_info(fmt::format("{} on {}: predicted KL {:.4f}, measured {:.4f} ± {:.4f} nat/token", what, text.spec.name, *predicted, found.kl.mean,
                           found.kl.standard_error));
    }
    add(measured, found, text, static_cast<Index>(stage), step);
  }

  /// Of the student with these factors, where their size was not known beforehand.
  ModelSize size_with(const Factors& factors) const {
    ModelSize size = plan_.dense;
    for (const auto& [name, parts] : factors) {
      const auto factorization = decompositions::make_factorization(decompositions::copy_of(parts));
      PlannedLayer layer;
      layer.layer = name;
      layer.parameters_before = factorization->rows() * factorization->cols();
      layer.parameters_after = factorization->num_parameters(), layer.bytes_after = factorization->stored_bytes();
      size.add(layer);
    }
    return size;
  }

  /// What was promised is what was made.
  static void expect_planned_size(const model::Transformer& student, const ModelSize& planned) {
    const Index found = student.num_parameters();
    KRONLAB_EXPECTS(planned.is_bound ? found <= planned.parameters : found == planned.parameters, "the student has {} parameters, planned were {}{}",
                    found, planned.is_bound ? "at most " : "", planned.parameters);
  }

  const comm::Communicator& communicator_;
  const config::RunSpec& run_;
  const RunOptions& options_;
  ExperimentSpec spec_;
  ModelAccess access_;
  CompressionPlan plan_;
  std::vector<EvaluationText> texts_;
  std::vector<std::vector<std::int32_t>> sensitivity_ids_;  ///< by stage
  InputHashes hashes_;
  std::string cell_;
  std::optional<model::Transformer> teacher_;
  std::optional<RunRecord> record_;
};

}  // namespace

void run_experiment(const comm::Communicator& communicator, const config::RunSpec& run, const RunOptions& options, RunSummary& summary) {
  summary.label = run.label;
  Job(communicator, run, options).run(summary);
}

RunSummary run_experiment(const comm::Communicator& communicator, const config::RunSpec& run,
                          const RunOptions& options) {
  RunSummary summary;
  run_experiment(communicator, run, options, summary);
  return summary;
}

}  // namespace kronlab::experiments
