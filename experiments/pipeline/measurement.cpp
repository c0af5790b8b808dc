#include "experiments/pipeline/measurement.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "experiments/pipeline/cache_file.hpp"
#include "experiments/pipeline/evaluation_text.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {
namespace {

using eval::Evaluation;
using nlohmann::json;

std::string to_json(const Evaluation& e) {
  json windows = json::array();
  for (const auto& [weight, loss] : e.windows) windows.push_back({weight, loss});
  return json{{"mean_nll", e.mean_nll},
              {"standard_error", e.standard_error},
              {"perplexity", e.perplexity},
              {"top1_accuracy", e.top1_accuracy},
              {"predicted_tokens", e.predicted_tokens},
              {"windows", std::move(windows)},
              {"seconds", e.seconds}}
      .dump(2);
}

Evaluation evaluation_from(const std::string& text) {
  const json j = json::parse(text);
  Evaluation e;
  e.mean_nll = j.at("mean_nll"), e.standard_error = j.at("standard_error"), e.perplexity = j.at("perplexity");
  e.top1_accuracy = j.at("top1_accuracy"), e.predicted_tokens = j.at("predicted_tokens");
  e.seconds = j.at("seconds");
  for (const auto& window : j.at("windows")) e.windows.push_back({window.at(0), window.at(1)});
  return e;
}

}  // namespace

std::vector<EvaluationText> evaluation_texts(const comm::Communicator& communicator, const ExperimentSpec& spec,
                                             const ModelAccess& model, const std::vector<std::string>& data_hashes) {
  std::vector<EvaluationText> texts;
  for (std::size_t i = 0; i < spec.evaluations.size(); ++i) {
    const auto& evaluation = spec.evaluations[i];
    texts.push_back({evaluation,
                     tokenised_text(communicator, model, evaluation.name, evaluation.path, evaluation.protocol),
                     data_hashes[i]});
  }
  return texts;
}

namespace {

std::string protocol_of(const EvaluationText& text) {
  std::string protocol = text.spec.protocol.name();
  if (text.spec.max_windows > 0) protocol += fmt::format(" max_windows={}", text.spec.max_windows);
  return protocol;
}

/// Metrics of one text at one place of a run.
class TextMetrics {
 public:
  TextMetrics(Measured& measured, const EvaluationText& text, Index stage, Index step) : measured_(measured) {
    common_.stage = stage, common_.step = step, common_.dataset = text.spec.name, common_.protocol = protocol_of(text);
  }
  void add(const std::string& name, double value, const char* unit, std::optional<double> error = std::nullopt) {
    Metric metric = common_;
    metric.name = name, metric.value = value, metric.unit = unit, metric.standard_error = error;
    measured_.metrics.push_back(std::move(metric));
  }
  void add(const std::string& name, const MeanLoss& mean, const char* unit) { add(name, mean.mean, unit, mean.standard_error); }

 private:
  Measured& measured_;
  Metric common_;
};

}  // namespace

void add(Measured& measured, const Evaluation& e, const EvaluationText& text, Index stage, Index step) {
  const auto& protocol = text.spec.protocol;
  const char* unit = protocol.kind == eval::Protocol::Kind::last_word || protocol.normaliser == eval::Protocol::Normaliser::word ? "nat/word" : "nat/token";
  TextMetrics metrics(measured, text, stage, step);
  metrics.add("eval/perplexity", e.perplexity, "1", e.perplexity_standard_error());
  metrics.add("eval/mean_nll", e.mean_nll, unit, e.standard_error);
  metrics.add("eval/top1_accuracy", e.top1_accuracy, "1");
  metrics.add("eval/predicted_tokens", static_cast<double>(e.predicted_tokens), "token");
  metrics.add("eval/tokens_per_second", e.tokens_per_second(), "token/s");
  measured.evaluations.push_back({stage, step, text.spec.name, protocol_of(text), text.data_hash, e.windows});
}

void add(Measured& measured, const eval::Divergence& d, const EvaluationText& text, Index stage, Index step) {
  TextMetrics metrics(measured, text, stage, step);
  metrics.add("divergence/kl", d.kl, "nat/token");
  metrics.add("divergence/jsd", d.jsd, "nat/token");
  metrics.add("divergence/top1_agreement", d.top1_agreement, "1");
  metrics.add("divergence/top5_agreement", d.top5_agreement, "1");
  metrics.add("divergence/probability_change", d.probability_change, "1");
  metrics.add("divergence/probability_change_rms", d.probability_change_rms, "1");
  for (std::size_t i = 0; i < std::size(eval::Divergence::shares); ++i) {
    const std::string share = fmt::format("_p{}", 100 * eval::Divergence::shares[i]);
    metrics.add("divergence/kl" + share, d.kl_at[i], "nat/token");
    metrics.add("divergence/probability_change" + share, d.probability_change_at[i], "1");
  }
  measured.evaluations.push_back({stage, step, text.spec.name, "kl-divergence " + protocol_of(text), text.data_hash, d.kl_windows});
}

Evaluation cached_evaluation(const comm::Communicator& communicator, const std::string& store_path,
                             const std::string& model_key, const model::Transformer& model, const EvaluationText& text,
                             model::Precision precision, const std::string& what) {
  const std::string key =
      sha256(fmt::format("evaluation 2\n{}\n{}\n{}\n{}\n{}\n", model_key, text.data_hash, text.spec.protocol.name(),
                         text.spec.max_windows, model::to_string(precision)));
  const auto path = std::filesystem::path(store_path) / "cache" / "evaluations" / (key + ".json");
  const auto is_readable = [](const std::string& found) { evaluation_from(found); };
  if (const std::string found = communicator.broadcast(communicator.is_root() ? read_cached(path, is_readable) : ""); !found.empty()) {
    log_info(fmt::format("{}: known from an earlier run", what));
    return evaluation_from(found);
  }
  const auto result =
      eval::evaluate(communicator, model, text.text, text.spec.protocol, text.spec.max_windows, precision, what);
  comm::coordinate(communicator, [&] {
    if (communicator.is_root()) write_cached(path, to_json(result));
  });
  return result;
}

}  // namespace kronlab::experiments
