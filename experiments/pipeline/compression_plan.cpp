#include "experiments/pipeline/compression_plan.hpp"

#include <algorithm>
#include <utility>

#include "experiments/pipeline/hidden_units.hpp"
#include "experiments/pipeline/layer_pattern.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::experiments {
namespace {

/// A weight that may be decomposed, and where it is.
struct Candidate {
  PlannedLayer place;
  std::string compressed_by;  ///< name of the stage that did it; empty: still dense
};

std::string name_of(const std::string& layer, const std::string& factor) {
  return factor.empty() ? layer : layer + "." + factor;
}

std::vector<Candidate> layers_of(const model::ModelConfig& config) {
  std::vector<Candidate> candidates;
  for (const auto& shape : model::linear_layers(config)) {
    Candidate candidate;
    candidate.place.name = candidate.place.layer = shape.name;
    candidate.place.block = shape.block, candidate.place.site = shape.site;
    candidate.place.rows = shape.rows, candidate.place.cols = shape.cols;
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

/// Decomposes on paper: the place with its sizes; the weight's factors become candidates.
PlannedLayer planned(const std::string& stage, const PartSpec& part, std::size_t at,
                     std::vector<Candidate>& candidates) {
  Candidate& candidate = candidates[at];
  if (!candidate.compressed_by.empty()) {
    throw ConfigError(fmt::format("{}: `{}` was compressed by {} before; its factors can be addressed as `{}.left`",
                                  stage, candidate.place.name, candidate.compressed_by, candidate.place.name));
  }
  PlannedLayer layer = candidate.place;
  layer.method = part.method;
  const auto size = part.decomposer->size_of(layer.name, layer.rows, layer.cols);
  layer.parameters_before = layer.rows * layer.cols;
  layer.parameters_after = size.num_parameters;
  layer.bytes_after = size.stored_bytes;
  layer.has_bound = size.is_bound;
  layer.cost = part.decomposer->cost(layer.rows, layer.cols);
  if (part.search) {
    layer.bytes_after += part.search->stored_bytes(*part.decomposer, layer.name, layer.rows, layer.cols);
    layer.num_starts = part.search->search->num_starts();
    layer.start_cost = part.search->search->cost(layer.rows, layer.cols, part.search->budget);
    layer.cost += part.search->cost(layer.rows, layer.cols);
  }
  if (part.needs_statistics() && layer.site == model::InputSite::none) {
    throw ConfigError(
        fmt::format("{}: {} needs statistics of the layer's inputs; `{}` has none", stage, part.method, layer.name));
  }
  if (const auto moments = part.gradient_moments(); moments != decompositions::GradientMoments::none) {
    if (layer.block < 0 || !layer.factor.empty()) {
      throw ConfigError(fmt::format("{}: {} needs moments of the loss gradient in the layer's outputs; `{}` has none", stage, part.method, layer.name));
    }
    layer.gradient_moments = moments == decompositions::GradientMoments::full ? layer.rows * layer.rows : layer.rows;
  }
  candidate.compressed_by = stage;
  for (const auto& [factor, shape] : part.decomposer->factor_shapes(layer.name, layer.rows, layer.cols)) {
    Candidate below;
    below.place = candidates[at].place;
    below.place.factor = name_of(layer.factor.empty() ? factor : layer.factor, layer.factor.empty() ? "" : factor);
    below.place.name = name_of(layer.layer, below.place.factor);
    below.place.site = model::InputSite::none;
    below.place.rows = shape.rows, below.place.cols = shape.cols;
    candidates.push_back(std::move(below));
  }
  return layer;
}

ModelSize dense_size(const model::ModelConfig& config) {
  ModelSize size;
  size.parameters = model::num_parameters(config);
  size.parameters_without_head = size.parameters - (config.tied_head ? 0 : config.vocab_size * config.width);
  size.stored_bytes = 4 * size.parameters;
  return size;
}

void expect_windows_fit(const ExperimentSpec& spec, Index context) {
  for (const auto& evaluation : spec.evaluations) evaluation.protocol.expect_valid(context);
  if (spec.training_text && spec.training_text->window > context) {
    throw ConfigError(fmt::format("data.distillation: window is {}, the model's context {}", spec.training_text->window, context));
  }
  if (spec.calibration && spec.calibration->text.window > context) {
    throw ConfigError(
        fmt::format("data.calibration: window is {}, the model's context {}", spec.calibration->text.window, context));
  }
  for (const auto& stage : spec.stages) {
    if (stage.sensitivity && stage.sensitivity->text.window > context)
      throw ConfigError(fmt::format("{}: sensitivity: window is {}, the model's context {}", stage.name, stage.sensitivity->text.window, context));
  }
}

/// What a distillation compares must exist in both models, and what it trains in the student.
void expect_distillation_fits(const StageSpec& stage, const model::ModelConfig& student, const model::ModelConfig& model, bool has_factors) {
  try {
    if (stage.distill->train == DistillSpec::Train::factors && !has_factors) throw ConfigError("train = \"factors\": no layer is decomposed");
    if (stage.distill->train == DistillSpec::Train::listed) {
      std::vector<std::string> names;
      for (const auto& layer : model::linear_layers(student)) names.push_back(layer.name);
      for (const auto& tensor : model::other_tensor_shapes(student)) names.push_back(tensor.name);
      select_layers(stage.distill->listed, names);
    }
    const auto& teacher = stage.distill->teacher == DistillSpec::Teacher::dense ? model : student;
    distill::DistillationLoss::expect_fits(stage.distill->losses, student, teacher);
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: distill: {}", stage.name, error.what()));
  }
}

}  // namespace

void ModelSize::add(const PlannedLayer& layer) {
  const Index change = layer.parameters_after - layer.parameters_before;
  parameters += change;
  if (layer.layer != "lm_head") parameters_without_head += change;
  stored_bytes += layer.bytes_after - 4 * layer.parameters_before;
  is_bound |= layer.has_bound;
}

model::ModelConfig student_config(const ExperimentSpec& spec, model::ModelConfig model) {
  if (spec.model.head == ModelSpec::Head::tied && !model.tied_head) {
    throw ConfigError("model.head = \"tied\": the model's head has a weight of its own; tying would drop it");
  }
  if (spec.model.head == ModelSpec::Head::untied) model.tied_head = false;
  if (!spec.student.config.empty()) {
    const auto own = model::ModelConfig::from_json(read_text_file(spec.student.config), spec.student.config);
    if (own.vocab_size != model.vocab_size) {
      throw ConfigError(fmt::format("student.config: a vocabulary of {}, the model's tokenizer has {}", own.vocab_size, model.vocab_size));
    }
    model = own;
  }
  for (const Index block : spec.student.blocks) {
    if (block < 0 || block >= model.num_blocks) {
      throw ConfigError(fmt::format("student.blocks: block {} does not exist; the model has blocks 0 to {}", block,
                                    model.num_blocks - 1));
    }
  }
  if (!spec.student.blocks.empty()) model.num_blocks = static_cast<Index>(spec.student.blocks.size());
  return model;
}

CompressionPlan CompressionPlan::make(const ExperimentSpec& spec, const model::ModelConfig& model) {
  CompressionPlan plan;
  plan.config = student_config(spec, model);
  plan.teacher = dense_size(model);
  plan.dense = dense_size(plan.config);
  expect_windows_fit(spec, plan.config.context);
  auto candidates = layers_of(plan.config);
  ModelSize size = plan.dense;
  for (const auto& stage : spec.stages) {
    PlannedStage planned_stage{stage.name, "", {}, {}};
    std::vector<std::string> names;  // as they are before the stage: its parts do not see each other's factors
    for (const auto& candidate : candidates) names.push_back(candidate.place.name);
    for (std::size_t part = 0; part < stage.parts.size(); ++part) {
      const auto& method = stage.parts[part].method;
      if (planned_stage.method.find(method) == std::string::npos)
        planned_stage.method += (part > 0 ? " + " : "") + method;
      for (const auto& name : select_layers(stage.parts[part].layers, names)) {
        const auto at = static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
        auto layer = planned(stage.name, stage.parts[part], at, candidates);
        layer.part = part;
        layer.is_distributed = spec.distribute_above > 0 && layer.rows * layer.cols > spec.distribute_above;
        if (layer.is_distributed && stage.parts[part].search) {
          throw ConfigError(
              fmt::format("{}: `{}` has {} elements, more than parallel.distribute_above, and a permutation search has "
                          "no distributed form",
                          stage.name, layer.name, layer.rows * layer.cols));
        }
        size.add(layer);
        planned_stage.layers.push_back(std::move(layer));
      }
    }
    std::ranges::stable_sort(planned_stage.layers, {}, [&](const PlannedLayer& layer) {
      return std::ranges::find(names, layer.name) - names.begin();
    });
    plan_absorption(spec, stage, plan.config, planned_stage.layers);
    if (stage.distill) {
      planned_stage.method += (stage.parts.empty() ? "" : ", ") + std::string("distilled");
      const bool has_factors = !planned_stage.layers.empty() || std::ranges::any_of(plan.stages, [](const auto& earlier) { return !earlier.layers.empty(); });
      expect_distillation_fits(stage, plan.config, model, has_factors);
    }
    planned_stage.after = size;
    plan.stages.push_back(std::move(planned_stage));
  }
  return plan;
}

}  // namespace kronlab::experiments
