#include "experiments/pipeline/run_experiment.hpp"

#include <sys/resource.h>

#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "experiments/pipeline/compress_stage.hpp"
#include "experiments/pipeline/factors_file.hpp"
#include "experiments/pipeline/measurement.hpp"
#include "experiments/pipeline/run_record.hpp"
#include "experiments/pipeline/stage_checkpoint.hpp"
#include "experiments/pipeline/student.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {
namespace {

/// Changes with the program where a change makes the same configuration give other numbers.
constexpr int results_version = 1;

/// Hashes of what a run reads. They and the configuration are its identity.
struct InputHashes {
  std::string model;
  std::vector<std::string> calibration;
  std::vector<std::string> evaluation;
};

InputHashes hashes_of(const comm::Communicator& communicator, const ExperimentSpec& spec, const ModelAccess& model) {
  InputHashes hashes;
  const auto own = comm::coordinate(communicator, [&] {
    return communicator.is_root() && model.files().has_weights() ? model.files().hash() : std::string();
  });
  hashes.model = communicator.broadcast(own);
  if (spec.calibration) {
    for (const auto& path : spec.calibration->text.paths)
      hashes.calibration.push_back(hash_of_file(communicator, path));
  }
  for (const auto& evaluation : spec.evaluations)
    hashes.evaluation.push_back(hash_of_file(communicator, evaluation.path));
  return hashes;
}

std::string cell_of(const ExperimentSpec& spec, const InputHashes& hashes) {
  std::string identity =
      fmt::format("results {}\n{}\nmodel {}\n", results_version, identity_of(spec.resolved), hashes.model);
  for (const auto& hash : hashes.calibration) identity += fmt::format("calibration {}\n", hash);
  for (const auto& hash : hashes.evaluation) identity += fmt::format("evaluation {}\n", hash);
  return sha256(identity);
}

/// What the student is before any stage: the key of caches.
std::string dense_key(const ExperimentSpec& spec, const std::string& model_hash) {
  return fmt::format("{} blocks [{}]", model_hash, fmt::join(spec.student_blocks, ","));
}

std::string statistics_key(const ExperimentSpec& spec, const InputHashes& hashes) {
  const auto& text = spec.calibration->text;
  return sha256(fmt::format("statistics 1\n{}\n{}\n{}\n{}\n{}\n", dense_key(spec, hashes.model),
                            fmt::join(hashes.calibration, ","), text.tokens, text.window,
                            model::to_string(spec.precision)));
}

double peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

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

  RunSummary run() {
    hashes_ = hashes_of(communicator_, spec_, access_);
    record_.emplace(communicator_, options_, run_, spec_, cell_of(spec_, hashes_), hashes_.model);
    RunSummary summary{record_->id(), run_.label, record_->is_done()};
    if (summary.was_done_before) {
      log_info(fmt::format("{}: done before as {}", run_.label, summary.id));
      return summary;
    }
    log_info(fmt::format("{}: {}", run_.label, summary.id));
    try {
      work();
    } catch (const std::exception& error) {
      record_->failed(error.what());
      throw;
    }
    return summary;
  }

 private:
  void work() {
    texts_ = evaluation_texts(communicator_, spec_, access_, hashes_.evaluation);
    log_info(fmt::format("loading {}", spec_.model.path));
    model::Transformer student = comm::coordinate(communicator_, [&] { return dense_student(spec_, access_); });
    evaluate_dense(student);
    const auto ids = spec_.calibration ? first_tokens(communicator_, access_, spec_.calibration->text.paths,
                                                      spec_.calibration->text.tokens)
                                       : std::vector<std::int32_t>();
    Factors factors;
    const std::size_t first = record_->num_finished_stages();
    if (first > 0) {
      factors = comm::coordinate(communicator_,
                                 [&] { return read_factors(factors_path(record_->folder(), first - 1).string()); });
      install(student, factors);
      log_info(fmt::format("{}: {} of {} stages were done before", run_.label, first, spec_.stages.size()));
    }
    for (std::size_t stage = first; stage < spec_.stages.size(); ++stage) do_stage(stage, ids, student, factors);
    record_->finish();
  }

  void evaluate_dense(const model::Transformer& student) {
    std::vector<Metric> metrics = size_metrics(plan_.dense, -1);
    for (const auto& text : texts_) {
      const auto evaluation =
          cached_evaluation(communicator_, options_.store_path, dense_key(spec_, hashes_.model), student, text,
                            spec_.precision, fmt::format("dense model on {}", text.spec.name));
      log_info(fmt::format("dense model on {}: perplexity {:.3f} ± {:.3f}", text.spec.name, evaluation.perplexity,
                           evaluation.perplexity_standard_error()));
      for (auto& metric : metrics_of(evaluation, text, -1)) metrics.push_back(std::move(metric));
      comm::coordinate(communicator_, [&] { expect_baseline(text.spec, evaluation.perplexity); });
    }
    if (record_->num_finished_stages() == 0) record_->dense_evaluated(metrics);
  }

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

  void do_stage(std::size_t stage, const std::vector<std::int32_t>& ids, model::Transformer& student,
                Factors& factors) {
    const auto& planned = plan_.stages[stage];
    log_info(fmt::format("{}: {} layers by {}", planned.name, planned.layers.size(), planned.method));
    record_->stage_started(stage, planned.name);
    const double started_s = now_s();
    std::optional<StatisticsCache> cache;  // of the dense model only: later stages see another one
    if (stage == 0 && spec_.calibration) cache.emplace(options_.store_path, statistics_key(spec_, hashes_));
    const StageInput input{spec_, plan_, stage, ids, cache ? &*cache : nullptr};
    const auto outcomes = compress_stage(communicator_, input, student);
    for (const auto& layer : planned.layers) factors[layer.layer] = factorization_of(student, layer.layer);
    expect_planned_size(student, planned.after);
    const auto number = static_cast<Index>(stage);
    std::vector<Metric> metrics = size_metrics(planned.after, number);
    for (const auto& text : texts_) {
      const auto evaluation =
          eval::evaluate(communicator_, student, text.text, text.spec.protocol, text.spec.max_windows, spec_.precision,
                         fmt::format("{} on {}", planned.name, text.spec.name));
      log_info(fmt::format("{} on {}: perplexity {:.3f} ± {:.3f}", planned.name, text.spec.name, evaluation.perplexity,
                           evaluation.perplexity_standard_error()));
      for (auto& metric : metrics_of(evaluation, text, number)) metrics.push_back(std::move(metric));
    }
    Metric memory;
    memory.name = "memory/peak_resident", memory.unit = "B", memory.stage = number,
    memory.value = communicator_.max(peak_memory_bytes());
    metrics.push_back(std::move(memory));
    record_->stage_finished(stage, planned, outcomes, metrics, factors, now_s() - started_s);
  }

  static decompositions::FactorizationParts factorization_of(const model::Transformer& student,
                                                             const std::string& layer) {
    const auto* factorization = dynamic_cast<const decompositions::Factorization*>(student.layer(layer).get());
    KRONLAB_EXPECTS(factorization, "layer `{}` is not factorised", layer);
    return factorization->parts();
  }

  /// What was promised is what was made.
  static void expect_planned_size(const model::Transformer& student, const ModelSize& planned) {
    KRONLAB_EXPECTS(student.num_parameters() == planned.parameters, "the student has {} parameters, planned were {}",
                    student.num_parameters(), planned.parameters);
  }

  const comm::Communicator& communicator_;
  const config::RunSpec& run_;
  const RunOptions& options_;
  ExperimentSpec spec_;
  ModelAccess access_;
  CompressionPlan plan_;
  std::vector<EvaluationText> texts_;
  InputHashes hashes_;
  std::optional<RunRecord> record_;
};

}  // namespace

RunSummary run_experiment(const comm::Communicator& communicator, const config::RunSpec& run,
                          const RunOptions& options) {
  return Job(communicator, run, options).run();
}

}  // namespace kronlab::experiments
