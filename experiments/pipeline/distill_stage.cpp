#include "experiments/pipeline/distill_stage.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "decompositions/factorization.hpp"
#include "experiments/pipeline/layer_pattern.hpp"
#include "experiments/pipeline/training_checkpoint.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/stop_request.hpp"
#include "framework/eval/evaluator.hpp"

namespace kronlab::experiments {
namespace {

using distill::LossTerm;

constexpr std::pair<LossTerm, const char*> term_units[] = {
    {LossTerm::ce, "nat/token"}, {LossTerm::kl, "nat/token"},  {LossTerm::reverse_kl, "nat/token"}, {LossTerm::jsd, "nat/token"},
    {LossTerm::hidden, "1"},     {LossTerm::embedding, "1"},   {LossTerm::attention, "nat/row"}};

double root_mean_square(const Tensor& values) {
  const auto matrix = to_matrix<double>(values.view());
  double sum = 0;
  for (Index i = 0; i < matrix.size(); ++i) sum += matrix.data()[i] * matrix.data()[i];
  return std::sqrt(sum / static_cast<double>(std::max<Index>(matrix.size(), 1)));
}

std::vector<distill::TensorSettings> settings_of(const DistillSpec& spec, const model::Parameters& parameters) {
  std::vector<distill::TensorSettings> settings;
  for (const auto& tensor : parameters.tensors()) {
    distill::TensorSettings own{1.0, tensor.is_matrix ? spec.weight_decay : 0.0};
    for (const auto& group : spec.groups) {
      if (std::ranges::none_of(group.parameters, [&](const auto& pattern) { return matches_layer(pattern, tensor.name); })) continue;
      own.rate_factor = group.rate_factor;
      if (group.weight_decay) own.weight_decay = *group.weight_decay;
    }
    if (spec.rate_unit == DistillSpec::RateUnit::rms) own.rate_factor *= root_mean_square(*tensor.value);
    settings.push_back(own);
  }
  return settings;
}

/// One training, from its first or its last checkpointed step to its end.
class Training {
 public:
  Training(const comm::Communicator& communicator, const DistillInput& input, model::Transformer& student, const model::Transformer* teacher,
           TrainingText& text, TrainingRecord& record)
      : communicator_(communicator),
        input_(input),
        spec_(input.spec),
        student_(student),
        text_(text),
        record_(record),
        loss_(comm::coordinate(communicator, [&] {
          return distill::DistillationLoss(input.spec.losses, student.config(), teacher ? &teacher->config() : nullptr, input.random.child("projection"));
        })),
        parameters_(comm::coordinate(communicator, [&] {
          return model::Parameters(student, learning_predicate(input.spec, student), loss_.projections());
        })),
        options_(options_of(input)),
        trainer_(communicator, student, teacher, loss_, parameters_, settings_of(input.spec, parameters_), options_),
        checkpoints_(input.folder),
        num_steps_(spec_.num_steps(text.num_training_windows())) {
    comm::coordinate(communicator, [&] { spec_.schedule.expect_fits(num_steps_); });
  }

  DistillOutcome run() {
    saved_s_ = now_s();
    state_.identity = input_.identity;
    if (const auto saved = checkpoints_.resume(communicator_, input_.identity, trainer_)) {
      state_ = *saved;
      log_info(fmt::format("{}: goes on after step {} of {}", input_.name, state_.step, num_steps_));
    }
    record_.forget_steps_after(state_.step);
    log_info(fmt::format("{}: distilling {} of {} parameters, {} steps of {} tokens ({} sequences of {}), {} windows to train on", input_.name,
                         parameters_.num_parameters(), student_.num_parameters(), num_steps_, options_.tokens_per_step(), options_.windows_per_step(),
                         options_.window, text_.num_training_windows()));
    {
      Progress progress(fmt::format("{}: step", input_.name), num_steps_);
      while (state_.step < num_steps_ && !has_ended_early()) do_step(progress);
      progress.finish(last_line_);
    }
    if (spec_.result == DistillSpec::Result::best && state_.best_step >= 0 && state_.best_step != state_.step) {
      log_info(fmt::format("{}: takes the best step, {}", input_.name, state_.best_step));
      checkpoints_.load_values(communicator_, state_.best_step, parameters_);
    }
    DistillOutcome outcome;
    outcome.num_steps = state_.step, outcome.seconds = state_.seconds + now_s() - saved_s_;
    outcome.trained = trained_names();
    return outcome;
  }

 private:
  static distill::TrainerOptions options_of(const DistillInput& input) {
    auto options = input.spec.trainer;
    options.precision = input.precision;
    return options;
  }

  bool has_ended_early() const { return spec_.patience > 0 && state_.num_worse >= spec_.patience; }

  void do_step(Progress& progress) {
    const double step_started_s = now_s();
    const double rate = spec_.schedule.rate(spec_.rate, state_.step, num_steps_);
    const Index first = state_.step * options_.windows_per_step();
    const auto result = trainer_.step(rate, [&](Index window, std::span<std::int32_t> ids) { text_.training_window(first + window, ids); });
    ++state_.step;
    state_.num_updates = trainer_.optimizer().num_updates();
    if (result.was_skipped) {
      skip(result);
    } else {
      state_.num_skipped_in_row = 0;
    }
    const double seconds = communicator_.max(now_s() - step_started_s);
    tokens_per_second_ = static_cast<double>(options_.tokens_per_step()) / seconds;
    auto metrics = metrics_of(result, rate);
    const bool is_last = state_.step == num_steps_;
    bool is_best = false;
    if (spec_.validate_every > 0 && (state_.step % spec_.validate_every == 0 || is_last)) is_best = validate(metrics);
    record_.record(metrics);
    const Index wanted = agreed_request();
    const bool is_due = spec_.checkpoints.every_steps > 0 && state_.step % spec_.checkpoints.every_steps == 0;
    if (is_due || is_best || is_last || has_ended_early() || wanted > 0) save();
    last_line_ = line_of(result);
    progress.update(state_.step, last_line_);
    if (wanted == stop_wanted && !is_last) {
      throw Interrupted(fmt::format("{}: stopped after step {} of {}, with a checkpoint", input_.name, state_.step, num_steps_));
    }
  }

  static constexpr Index checkpoint_wanted = 1, stop_wanted = 2;

  /// What any rank was asked for by a signal, or the time since the last checkpoint asks for.
  Index agreed_request() {
    Index wanted = StopRequest::take_checkpoint() ? checkpoint_wanted : 0;
    const double every_s = 60 * spec_.checkpoints.every_minutes;
    if (communicator_.is_root() && every_s > 0 && now_s() - saved_s_ > every_s) wanted = checkpoint_wanted;
    if (StopRequest::is_stop_wanted()) wanted = stop_wanted;
    return communicator_.max(wanted);
  }

  void save() {
    record_.flush();  // what a checkpoint goes on from is recorded
    state_.seconds += now_s() - saved_s_;
    checkpoints_.write(communicator_, state_, trainer_, [&] { record_.expect_current(); });
    if (communicator_.is_root()) checkpoints_.prune(spec_.checkpoints.keep, state_.best_step);
    saved_s_ = now_s();
  }

  void skip(const distill::StepResult& result) {
    ++state_.num_skipped_in_row;
    log_warning(fmt::format("{}: step {} is skipped: {} is not finite (loss {})", input_.name, state_.step, result.not_finite, result.loss.total));
    if (state_.num_skipped_in_row < spec_.max_skipped) return;
    const auto saved = checkpoints_.steps();
    throw CollectiveError(
        CollectiveError::Cause::data,
        fmt::format("{}: {} steps in a row up to step {} were not finite, the last in {}; the training has diverged at a peak learning rate of {}; {}",
                    input_.name, state_.num_skipped_in_row, state_.step, result.not_finite, spec_.rate,
                    saved.empty() ? "there is no checkpoint yet" : fmt::format("the last good checkpoint is '{}'", checkpoints_.folder_of(saved.back()).string())));
  }

  Metric metric(const char* name, double value, const char* unit) const {
    Metric m;
    m.name = name, m.value = value, m.unit = unit, m.stage = input_.stage, m.step = state_.step;
    return m;
  }

  std::vector<Metric> metrics_of(const distill::StepResult& result, double rate) const {
    std::vector<Metric> metrics = {metric("distill/loss", result.loss.total, "1"), metric("distill/gradient_norm", result.gradient_norm, "1"),
                                   metric("distill/learning_rate", rate, "1"), metric("distill/tokens_per_second", tokens_per_second_, "token/s")};
    for (const auto& [term, unit] : term_units) {
      if (spec_.losses.weights[term] == 0 && term != LossTerm::ce) continue;
      metrics.push_back(metric(fmt::format("distill/{}", to_string(term)).c_str(), result.loss[term], unit));
    }
    if (result.was_skipped) metrics.push_back(metric("distill/skipped", 1.0, "1"));
    return metrics;
  }

  std::string line_of(const distill::StepResult& result) const {
    std::string line = fmt::format("loss {:.4f}", result.loss.total);
    for (const auto& [term, unit] : term_units) {
      if (spec_.losses.weights[term] > 0) line += fmt::format("  {} {:.4f}", to_string(term), result.loss[term]);
    }
    if (validation_loss_) line += fmt::format("  validation perplexity {:.3f}", std::exp(*validation_loss_));
    return line + fmt::format("  {:.0f} token/s", tokens_per_second_);
  }

  /// Mean loss of the held-out windows. @return whether it is the best so far
  bool validate(std::vector<Metric>& metrics) {
    std::vector<double> sums(static_cast<std::size_t>(text_.num_validation_windows()));
    const auto share = comm::block_range(text_.num_validation_windows(), communicator_.rank(), communicator_.size());
    comm::coordinate(communicator_, [&] {
      model::Workspace workspace(options_.precision);
      std::vector<std::int32_t> ids(static_cast<std::size_t>(text_.window()));
      std::vector<double> nll(ids.size() - 1);
      for (Index i = share.begin; i < share.end; ++i) {
        text_.validation_window(i, ids);
        eval::token_losses(student_, std::span(ids).first(nll.size()), std::span(ids).subspan(1), text_.window() - 1, workspace, nll, {});
        for (const double loss : nll) sums[static_cast<std::size_t>(i)] += loss;
      }
    });
    communicator_.sum(std::span(sums));
    double total = 0;
    for (const double sum : sums) total += sum;
    validation_loss_ = total / static_cast<double>(text_.num_validation_windows() * (text_.window() - 1));
    metrics.push_back(metric("distill/validation_loss", *validation_loss_, "nat/token"));
    metrics.push_back(metric("distill/validation_perplexity", std::exp(*validation_loss_), "1"));
    const bool is_best = std::isfinite(*validation_loss_) && (state_.best_step < 0 || *validation_loss_ < state_.best_loss);
    if (is_best) {
      state_.best_step = state_.step, state_.best_loss = *validation_loss_, state_.num_worse = 0;
    } else {
      ++state_.num_worse;
    }
    return is_best;
  }

  /// Of layers, not of their numbers; what belongs to the loss is not of the student.
  std::vector<std::string> trained_names() const {
    const auto learns = learning_predicate(spec_, student_);
    std::vector<std::string> names;
    for (const auto& layer : student_.layers()) {
      if (learns(layer.name)) names.push_back(layer.name);
    }
    for (const auto& [name, tensor] : std::as_const(student_).other_tensors()) {
      if (learns(name)) names.push_back(name);
    }
    return names;
  }

  const comm::Communicator& communicator_;
  const DistillInput& input_;
  const DistillSpec& spec_;
  model::Transformer& student_;
  TrainingText& text_;
  TrainingRecord& record_;
  distill::DistillationLoss loss_;
  model::Parameters parameters_;
  distill::TrainerOptions options_;
  distill::Trainer trainer_;
  TrainingCheckpoints checkpoints_;
  Index num_steps_;
  TrainingState state_;
  std::optional<double> validation_loss_;
  std::string last_line_;
  double tokens_per_second_ = 0.0, saved_s_ = 0.0;
};

}  // namespace

model::Parameters::Predicate learning_predicate(const DistillSpec& spec, const model::Transformer& student) {
  if (spec.train == DistillSpec::Train::all) return [](const std::string&) { return true; };
  std::set<std::string> selected;
  if (spec.train == DistillSpec::Train::factors) {
    for (const auto& layer : student.layers()) {
      if (dynamic_cast<const decompositions::Factorization*>(student.layer(layer.name).get())) selected.insert(layer.name);
    }
    if (selected.empty()) throw ConfigError("distill.train = \"factors\": no layer of the student is decomposed");
  } else {
    std::vector<std::string> names;
    for (const auto& layer : student.layers()) names.push_back(layer.name);
    for (const auto& [name, tensor] : student.other_tensors()) names.push_back(name);
    for (const auto& name : select_layers(spec.listed, names)) selected.insert(name);
  }
  return [selected](const std::string& name) { return selected.contains(name); };
}

DistillOutcome distill_stage(const comm::Communicator& communicator, const DistillInput& input, model::Transformer& student,
                             const model::Transformer* teacher, TrainingText& text, TrainingRecord& record) {
  return Training(communicator, input, student, teacher, text, record).run();
}

}  // namespace kronlab::experiments
