#include "experiments/pipeline/memory_estimate.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "experiments/pipeline/layer_pattern.hpp"
#include "experiments/pipeline/sensitivity_probe.hpp"

namespace kronlab::experiments {
namespace {

/// Program, libraries and their buffers, measured on a model of a few kilobytes.
constexpr Index program_bytes = Index{48} << 20;

/// Bytes of activations, of one number as it stands between two products.
struct Widths {
  Widths(const model::ModelConfig& c, model::Precision precision)
      : number(size_of(model::activation_type(precision))), stream_number(size_of(model::stream_type(precision))), width(c.width), ffn(c.ffn_width),
        query(c.num_heads * c.head_dim), key(c.num_kv_heads * c.head_dim), gates(c.architecture == model::Architecture::llama ? 1 : 0) {}
  Index stream() const { return stream_number * width; }
  /// What a block keeps of a token besides its input stream.
  Index kept() const { return number * (2 * query + 2 * key + (1 + gates) * ffn) + stream(); }
  /// What a forward pass needs at one time.
  Index forward() const { return number * (width + ffn) + 2 * stream(); }
  /// And a backward pass besides.
  Index backward() const { return number * (2 * width + (1 + gates) * ffn + 2 * query + 2 * key) + stream() + 4 * 3 * query; }

  Index number, stream_number, width, ffn, query, key, gates;
};

Index evaluation_bytes(const ExperimentSpec& spec, const model::ModelConfig& config) {
  constexpr Index slice = 2048;  // of the vocabulary
  Index tokens = 1024;
  for (const auto& evaluation : spec.evaluations) tokens = std::max(tokens, evaluation.protocol.window);
  const Widths w(config, spec.precision);
  return tokens * (w.kept() + w.forward() + w.stream_number * slice);
}

Index sensitivity_bytes(const ExperimentSpec& spec, const SensitivitySpec& sensitivity, const model::ModelConfig& config) {
  const Index tokens = sensitivity.text.tokens / sensitivity.text.window * sensitivity.text.window;
  const Widths w(config, spec.precision);
  const Index logits = tokens * config.vocab_size * w.stream_number, at_once = std::max<Index>(1024, sensitivity.text.window);
  return tokens * (2 * w.stream() + w.number * w.width) + (logits <= SensitivityProbe::most_kept_logits ? logits : 0) + at_once * (w.kept() + w.forward());
}

/// Arrays that a rank's part of a binary tree over the windows has open at most, with the one that is added.
Index open_arrays(Index windows) {
  Index arrays = 1;
  for (Index rest = windows; rest > 0; rest /= 2) ++arrays;
  return arrays;
}

/// Second moments of a plan's sites and of its layers' gradients.
struct Moments {
  Index held = 0;           ///< by one rank while it decomposes: as much as it may, or the largest if that is more
  Index of_a_block = 0;     ///< most of one block, which every rank sums over its windows
  Index largest = 0;
  Index gradients = 0;      ///< of all layers
  Moments(const ExperimentSpec& spec, const CompressionPlan& plan) {
    const Index streams = spec.calibration->match_outputs ? 2 : 1;
    std::set<std::pair<Index, model::InputSite>> sites;
    std::map<Index, Index> blocks;
    Index all = 0;
    for (const auto& stage : plan.stages) {
      for (const auto& layer : stage.layers) {
        gradients += 8 * layer.gradient_moments;
        if (layer.site == model::InputSite::none || !sites.emplace(layer.block, layer.site).second) continue;
        const Index bytes = streams * 8 * layer.cols * layer.cols;
        all += bytes, blocks[layer.block] += bytes;
        of_a_block = std::max(of_a_block, blocks[layer.block]);
        largest = std::max(largest, bytes);
      }
    }
    held = std::min(all, std::max(spec.calibration->memory_mb << 20, largest)) + gradients;
  }
};

Index calibration_bytes(const ExperimentSpec& spec, const CompressionPlan& plan, int num_ranks) {
  const auto& text = spec.calibration->text;
  const Moments moments(spec, plan);
  if (moments.held == 0) return 0;
  const Index own_windows = (text.tokens / text.window + num_ranks - 1) / num_ranks;
  const Index streams = (spec.calibration->match_outputs ? 2 : 1) * 4 * own_windows * text.window * plan.config.width;
  return moments.held + open_arrays(own_windows) * moments.of_a_block + 2 * moments.largest + streams + 2 * moments.gradients;
}

/// A weight in double with a copy turned round and its factors, the Gram matrix of its short side and the work of an
/// eigenproblem; the terms of a Kronecker sum need less.
Index decomposition_bytes(const PlannedStage& stage, int num_ranks) {
  Index most = 0;
  for (const auto& layer : stage.layers) {
    const Index size = layer.rows * layer.cols, side = std::min(layer.rows, layer.cols);
    const bool rearranges = layer.method.find("kronecker") != std::string::npos;
    Index bytes = 4 * size + 8 * (3 * size + (rearranges ? 0 : 5 * side * side));
    if (layer.is_distributed) bytes = 4 * size + (bytes - 4 * size) / num_ranks;
    most = std::max(most, bytes);
  }
  return most;
}

}  // namespace

std::map<std::string, Index> parameters_by_name(const CompressionPlan& plan, std::size_t last_stage) {
  std::map<std::string, Index> parameters;
  for (const auto& layer : model::linear_layers(plan.config)) parameters[layer.name] = layer.rows * layer.cols;
  for (const auto& [name, shape] : model::other_tensor_shapes(plan.config)) {
    parameters[name] = std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<>());
  }
  for (std::size_t stage = 0; stage <= last_stage; ++stage) {
    for (const auto& layer : plan.stages[stage].layers) parameters[layer.layer] += layer.parameters_after - layer.parameters_before;
  }
  return parameters;
}

std::set<std::string> learning_names(const ExperimentSpec& spec, const CompressionPlan& plan, std::size_t stage) {
  const auto& distill = *spec.stages[stage].distill;
  std::vector<std::string> names;
  for (const auto& [name, count] : parameters_by_name(plan, stage)) names.push_back(name);
  if (distill.train == DistillSpec::Train::all) return {names.begin(), names.end()};
  std::set<std::string> selected;
  if (distill.train == DistillSpec::Train::listed) {
    const auto listed = select_layers(distill.listed, names);
    return {listed.begin(), listed.end()};
  }
  for (std::size_t earlier = 0; earlier <= stage; ++earlier) {
    for (const auto& layer : plan.stages[earlier].layers) selected.insert(layer.layer);
  }
  return selected;
}

namespace {

/// What a training needs besides the teacher's weights.
Index training_bytes(const ExperimentSpec& spec, const CompressionPlan& plan, std::size_t stage, int num_ranks) {
  const auto& distill = *spec.stages[stage].distill;
  const auto parameters = parameters_by_name(plan, stage);
  const auto learning = learning_names(spec, plan, stage);
  const auto shapes = model::linear_layers(plan.config);
  Index learned = 0, first_block = plan.config.num_blocks;
  for (const auto& name : learning) {
    learned += parameters.at(name);
    const auto shape = std::ranges::find(shapes, name, &model::LayerShape::name);
    first_block = std::min(first_block, shape == shapes.end() ? 0 : shape->block);
  }
  first_block = std::max<Index>(first_block, 0);
  const Index number = size_of(model::stream_type(spec.precision));
  const auto own = comm::block_range(distill.trainer.num_micro_batches, 0, num_ranks);
  const Index arrays = distill::GradientSum::num_arrays(own);
  const Index moments = 2 * number * learned / (distill.trainer.shard_optimizer ? num_ranks : 1);
  const Index exchange = num_ranks > 1 ? number * learned : 0;
  const Index tokens = distill.trainer.micro_batch * distill.trainer.window;
  const Widths w(plan.config, spec.precision);
  const Index num_kept = distill.trainer.recompute == model::Recompute::blocks ? 1 : plan.config.num_blocks - first_block;
  Index activations = tokens * ((plan.config.num_blocks - first_block + 3) * w.stream() + num_kept * w.kept() + w.forward() + w.backward());
  const Index logits = std::min(distill::DistillationLoss::logits_at_once, tokens * plan.config.vocab_size);
  Index logits_bytes = logits * (number + (spec.precision == model::Precision::bf16 ? 2 : 0));
  if (distill.losses.needs_teacher()) {
    activations += tokens * (2 * w.stream() + w.kept() + w.forward());
    logits_bytes += logits * number;
  }
  const Index copies = spec.precision == model::Precision::bf16 ? 2 * learned : 0;
  return number * (1 + arrays) * learned + moments + exchange + activations + logits_bytes + copies;
}

/// Dense weights in place of factors, for the speed beside them, as far as they do not take the place of those that were
/// loaded. changed: what the factors take, less what they freed
Index dense_twin_bytes(const ExperimentSpec& spec, const CompressionPlan& plan, Index changed) {
  if (spec.needs_dense_teacher() && spec.student.init == StudentSpec::Init::model) return 0;  // the teacher serves
  Index twins = 0;
  for (const auto& stage : plan.stages) {
    for (const auto& layer : stage.layers) {
      if (layer.factor.empty()) twins += layer.parameters_before * (spec.precision == model::Precision::bf16 ? 6 : 4);
    }
  }
  return std::max<Index>(twins + std::min<Index>(changed, 0), 0);
}

}  // namespace

Index MemoryEstimate::peak() const {
  Index most = std::max(evaluation, calibration);
  for (const auto& stage : stages) most = std::max({most, stage.decomposition, stage.sensitivity, stage.training});
  return base() + most;
}

MemoryEstimate estimated_memory(const ExperimentSpec& spec, const CompressionPlan& plan, int num_ranks) {
  const bool has_teacher = spec.needs_dense_teacher();
  MemoryEstimate memory;
  memory.program = program_bytes;
  memory.evaluation = spec.evaluations.empty() ? 0 : evaluation_bytes(spec, plan.config);
  const Index held = spec.calibration ? Moments(spec, plan).held : 0;
  memory.calibration = spec.calibration ? calibration_bytes(spec, plan, num_ranks) : 0;
  Index changed = 0;
  for (std::size_t stage = 0; stage < spec.stages.size(); ++stage) {
    auto& own = memory.stages.emplace_back();
    const auto& layers = plan.stages[stage].layers;
    for (const auto& layer : layers) changed += layer.bytes_after - (has_teacher ? 0 : 4 * layer.parameters_before);
    if (!layers.empty()) own.decomposition = decomposition_bytes(plan.stages[stage], num_ranks) + held;
    if (spec.stages[stage].sensitivity) {
      own.sensitivity = sensitivity_bytes(spec, *spec.stages[stage].sensitivity, plan.config);
      for (const auto& layer : layers) {  // the weights before the stage stay beside the factors
        const Index kept = has_teacher || !layer.factor.empty() ? 0 : layer.parameters_before * (spec.precision == model::Precision::bf16 ? 6 : 4);
        own.sensitivity += kept, own.decomposition += kept;
      }
    }
    if (!spec.stages[stage].distill) continue;
    own.training = training_bytes(spec, plan, stage, num_ranks);
    if (has_teacher) continue;  // else the values that learn take the place of those that were loaded
    const auto parameters = parameters_by_name(plan, stage);
    for (const auto& name : learning_names(spec, plan, stage)) own.training -= 4 * parameters.at(name);
  }
  const Index loaded = spec.student.init == StudentSpec::Init::random ? plan.dense.stored_bytes + (has_teacher ? plan.teacher.stored_bytes : 0)
                                                                      : plan.teacher.stored_bytes;
  if (!spec.runs_the_model()) {  // factors, in the student and for the record, and what is beside the layers
    memory.weights = 0;
    for (const auto& [name, shape] : model::other_tensor_shapes(plan.config)) memory.weights += 4 * std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<>());
    for (const auto& stage : plan.stages) {
      for (const auto& layer : stage.layers) memory.weights += 2 * layer.bytes_after;
    }
    return memory;
  }
  if (!spec.evaluations.empty()) memory.evaluation += dense_twin_bytes(spec, plan, changed);
  const Index bf16 = spec.precision == model::Precision::bf16 ? loaded / 2 : 0;
  memory.weights = loaded + bf16 + std::max<Index>(changed, 0);
  return memory;
}

Index estimated_memory_bytes(const ExperimentSpec& spec, const CompressionPlan& plan, int num_ranks) { return estimated_memory(spec, plan, num_ranks).peak(); }

}  // namespace kronlab::experiments
