#include "experiments/pipeline/model_speed.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <tuple>
#include <typeindex>

#include "decompositions/factorization.hpp"
#include "experiments/pipeline/layer_speed.hpp"
#include "experiments/pipeline/rounds.hpp"
#include "framework/eval/evaluator.hpp"
#include "framework/model/generator.hpp"

namespace kronlab::experiments {
namespace {

using linalg::LinearOperator;

constexpr double model_budget_s = 1.0, layer_budget_s = 0.3;
constexpr std::size_t most_alike = 8;  // layers of one shape and size: enough to leave the caches, few for a deep model

/// Forward passes of one model.
class Passes {
 public:
  Passes(const model::Transformer& model, const SpeedProtocol& protocol)
      : model_(model),
        precision_(protocol.precision),
        workspace_(protocol.precision),
        losses_(static_cast<std::size_t>(protocol.window)) {
    for (Index i = 0; i < protocol.window; ++i)
      ids_.push_back(static_cast<std::int32_t>(i * 7919 % model.config().vocab_size));
  }

  void window() { eval::token_losses(model_, ids_, ids_, static_cast<Index>(ids_.size()), workspace_, losses_, {}); }

  void token() {
    constexpr Index capacity = 64;
    if (!generator_ || generator_->length() == generator_->capacity())
      generator_.emplace(model_, precision_, std::min(capacity, model_.config().context));
    generator_->feed(std::span(ids_).first(1));
  }

 private:
  const model::Transformer& model_;
  model::Precision precision_;
  model::Workspace workspace_;
  std::vector<std::int32_t> ids_;
  std::vector<double> losses_;
  std::optional<model::Generator> generator_;
};

Metric metric_of(const char* name, double value, const char* unit, Index stage, const std::string& protocol,
                 const std::string& layer = "") {
  Metric metric;
  metric.name = name, metric.value = value, metric.unit = unit, metric.stage = stage, metric.protocol = protocol,
  metric.layer = layer;
  return metric;
}

void add_model(std::vector<Metric>& metrics, const model::Transformer& student, const model::Transformer& dense,
               const SpeedProtocol& protocol, Index stage) {
  Passes of_student(student, protocol), of_dense(dense, protocol);
  const std::vector<std::function<void()>> passes{[&] { of_student.window(); }, [&] { of_dense.window(); },
                                                  [&] { of_student.token(); }, [&] { of_dense.token(); }};
  const auto seconds = median_seconds(passes, model_budget_s);
  const auto add = [&](const std::string& name, Index tokens, double own_s, double dense_s) {
    const auto n = static_cast<double>(tokens);
    metrics.push_back(metric_of("speed/tokens_per_second", n / own_s, "token/s", stage, name));
    metrics.push_back(metric_of("speed/dense_tokens_per_second", n / dense_s, "token/s", stage, name));
    metrics.push_back(metric_of("speed/ratio", dense_s / own_s, "1", stage, name));
  };
  add(protocol.window_name(), protocol.window, seconds[0], seconds[1]);
  add(protocol.token_name(), 1, seconds[2], seconds[3]);
}

/// Layers whose products take the same time.
struct Alike {
  std::vector<std::string> names;
  std::vector<const LinearOperator*> own, dense;
};

std::vector<Alike> compressed_layers(const model::Transformer& student, const model::Transformer& dense) {
  std::map<std::tuple<Index, Index, std::type_index, Index, Index>, std::size_t> known;
  std::vector<Alike> groups;
  for (const auto& shape : student.layers()) {
    const auto weight = student.layer(shape.name);
    const auto* factors = dynamic_cast<const decompositions::Factorization*>(weight.get());
    const bool is_only_looked_up = shape.name == model::embedding_name(student.config()) && !student.config().tied_head;
    if (!factors || is_only_looked_up) continue;
    const auto key = std::tuple(shape.rows, shape.cols, std::type_index(typeid(*factors)), factors->num_parameters(),
                                factors->stored_bytes());
    const auto [place, is_new] = known.try_emplace(key, groups.size());
    if (is_new) groups.emplace_back();
    auto& group = groups[place->second];
    group.names.push_back(shape.name);
    group.own.push_back(factors), group.dense.push_back(dense.layer(shape.name).get());
  }
  return groups;
}

void add_layers(std::vector<Metric>& metrics, const std::vector<Alike>& groups, Index tokens, const std::string& name,
                const SpeedProtocol& protocol, Index stage) {
  std::vector<const LinearOperator*> in_turn;
  for (const auto& group : groups) {
    for (std::size_t i = 0; i < std::min(most_alike, group.names.size()); ++i)
      in_turn.push_back(group.own[i]), in_turn.push_back(group.dense[i]);
  }
  const auto seconds = apply_seconds(in_turn, tokens, protocol.precision, layer_budget_s);
  auto next = seconds.begin();
  for (const auto& group : groups) {
    std::vector<double> own, dense;
    for (std::size_t i = 0; i < std::min(most_alike, group.names.size()); ++i)
      own.push_back(*next++), dense.push_back(*next++);
    for (const auto& layer : group.names) {
      metrics.push_back(metric_of("speed/seconds", median(own), "s", stage, name, layer));
      metrics.push_back(metric_of("speed/dense_seconds", median(dense), "s", stage, name, layer));
    }
  }
}

std::string batch_name(const char* what, Index tokens, const SpeedProtocol& protocol) {
  return fmt::format("{} tokens={} precision={} threads={}", what, tokens, model::to_string(protocol.precision),
                     protocol.threads);
}

}  // namespace

SpeedProtocol SpeedProtocol::of(Index context, Index num_parameters, model::Precision precision, int threads) {
  constexpr Index longest = 256, shortest = 8;
  constexpr double most_work = 2e10;  // multiplications and additions of a pass: a fraction of a second
  Index window = longest;
  while (window > shortest && 2.0 * static_cast<double>(window) * static_cast<double>(num_parameters) > most_work)
    window /= 2;
  return {std::min(window, context), precision, threads};
}

std::string SpeedProtocol::window_name() const { return batch_name("forward", window, *this); }

std::string SpeedProtocol::token_name() const { return batch_name("generate", 1, *this); }

std::vector<Metric> speed_metrics(const model::Transformer& student, const model::Transformer& dense,
                                  const SpeedProtocol& protocol, Index stage) {
  std::vector<Metric> metrics;
  add_model(metrics, student, dense, protocol, stage);
  const auto groups = compressed_layers(student, dense);
  if (groups.empty()) return metrics;
  add_layers(metrics, groups, protocol.window, protocol.window_name(), protocol, stage);
  add_layers(metrics, groups, 1, protocol.token_name(), protocol, stage);
  return metrics;
}

std::vector<Metric> dense_speed_metrics(const SpeedProtocol& protocol) {
  return {metric_of("speed/ratio", 1.0, "1", -1, protocol.window_name()),
          metric_of("speed/ratio", 1.0, "1", -1, protocol.token_name())};
}

model::Transformer dense_twin(const model::Transformer& student) {
  auto twin = student.share();
  for (const auto& shape : student.layers()) {
    const auto weight = student.layer(shape.name);
    if (!dynamic_cast<const decompositions::Factorization*>(weight.get())) continue;
    twin.replace_layer(shape.name, std::make_shared<linalg::DenseOperator>(weight->to_dense()));
  }
  return twin;
}

}  // namespace kronlab::experiments
