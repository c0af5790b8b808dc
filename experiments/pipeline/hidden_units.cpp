#include "experiments/pipeline/hidden_units.hpp"

#include <algorithm>
#include <list>
#include <utility>

#include "decompositions/permutation/permutation_search.hpp"
#include "decompositions/permutation/shared_axis_objective.hpp"
#include "framework/linalg/linear_operator.hpp"

namespace kronlab::experiments {
namespace {

using decompositions::Axis;
using model::InputSite;

bool is_beside_hidden_units(InputSite site) { return site == InputSite::mlp || site == InputSite::mlp_hidden; }

/// The elements of one axis in another order; a vector has only columns.
Tensor moved(ConstTensorView from, Axis axis, const std::vector<Index>& order) {
  const auto old = to_matrix<double>(from);
  Matrix<double> now(from.rows, from.cols);
  for (Index i = 0; i < from.rows; ++i) {
    for (Index j = 0; j < from.cols; ++j) {
      now(i, j) = axis == Axis::rows ? old(order[static_cast<std::size_t>(i)], j) : old(i, order[static_cast<std::size_t>(j)]);
    }
  }
  Tensor result(from.dtype, {from.rows, from.cols});
  convert(std::as_const(now).view(), result.view());
  return result;
}

}  // namespace

std::vector<HiddenUnits> absorbed_units(const std::vector<PlannedLayer>& layers) {
  std::vector<HiddenUnits> units;
  for (std::size_t at = 0; at < layers.size(); ++at) {
    if (!layers[at].is_absorbed) continue;
    if (units.empty() || units.back().block != layers[at].block) units.push_back({layers[at].block, {}});
    units.back().layers.push_back(at);
  }
  return units;
}

void plan_absorption(const ExperimentSpec& spec, const StageSpec& stage, const model::ModelConfig& config, std::vector<PlannedLayer>& layers) {
  const auto absorbs = [&](const PlannedLayer& layer) {
    const auto& search = stage.parts[layer.part].search;
    return search && search->absorbs;
  };
  for (auto& layer : layers) {
    if (!absorbs(layer)) continue;
    if (!layer.factor.empty() || !is_beside_hidden_units(layer.site)) {
      throw ConfigError(fmt::format("{}: absorb = true: `{}` is not beside the hidden units of an MLP, whose order is free", stage.name, layer.name));
    }
    for (const auto& partner : model::linear_layers(config)) {
      if (partner.block != layer.block || !is_beside_hidden_units(partner.site)) continue;
      const bool is_there = std::ranges::any_of(layers, [&](const PlannedLayer& other) { return other.name == partner.name && absorbs(other); });
      if (!is_there) {
        throw ConfigError(fmt::format("{}: absorb = true: `{}` has the same hidden units as `{}`, expected it in this stage with absorb = true too",
                                      stage.name, layer.name, partner.name));
      }
    }
    if (spec.calibration && spec.calibration->sequential) {
      throw ConfigError(fmt::format("{}: absorb = true with sequential calibration: the layers on both sides of `{}`'s hidden units are searched "
                                    "together", stage.name, layer.name));
    }
    layer.is_absorbed = true;
  }
  for (const auto& units : absorbed_units(layers)) {
    auto& leader = layers[units.layers.front()];
    for (const auto at : units.layers) {
      auto& layer = layers[at];
      const double of_searches = static_cast<double>(layer.num_starts) * layer.start_cost;
      layer.cost -= of_searches;
      leader.cost += of_searches;
      layer.num_starts = 1, layer.start_cost = 0;
    }
  }
}

Axis hidden_axis(const PlannedLayer& layer) { return layer.site == InputSite::mlp ? Axis::rows : Axis::columns; }

decompositions::SearchResult find_hidden_order(const decompositions::ConfiguredSearch& search, const std::vector<HiddenWeight>& weights,
                                               const RandomStream& random,
                                               const std::function<decompositions::SearchStateStore*(Index start)>& store_of) {
  std::list<Matrix<double>> seen;
  std::list<std::unique_ptr<decompositions::PermutationObjective>> objectives;
  std::vector<decompositions::SharedAxisPart> parts;
  std::string problem = "hidden units";
  for (const auto& [layer, decomposer, weight, statistics] : weights) {
    const auto grouping = search.problem_of(*decomposer, layer->name, layer->rows, layer->cols);
    seen.push_back(to_matrix<double>(decompositions::weighted(layer->name, weight.view(), search.weighting, *statistics, search.damping).view()));
    decompositions::expect_finite(layer->name, seen.back());
    objectives.push_back(decompositions::make_objective(search.search->kind(), layer->name, seen.back().view(), grouping));
    const Axis axis = hidden_axis(*layer);
    parts.push_back({objectives.back().get(), axis, decompositions::identity_grouping(*objectives.back()).of(decompositions::other_axis(axis))});
    problem += fmt::format(", {} energy {:a} {}", layer->name, objectives.back()->energy(), decompositions::to_string(grouping));
  }
  const decompositions::SharedAxisObjective objective(std::move(parts));
  const auto from = [&](Index start) { return search.search->search(problem, objective, random, search.budget, store_of(start), start); };
  auto best = from(0);
  for (Index start = 1; start < search.search->num_starts(); ++start) keep_best(best, from(start));
  return best;
}

std::vector<std::string> move_hidden_units(model::Transformer& model, Index block, const std::vector<Index>& order) {
  std::vector<std::string> biases;
  const auto layers = model.layers();
  for (const auto& shape : layers) {
    if (shape.block != block || !is_beside_hidden_units(shape.site)) continue;
    const bool is_before = shape.site == InputSite::mlp;
    const auto* dense = dynamic_cast<const linalg::DenseOperator*>(model.layer(shape.name).get());
    KRONLAB_EXPECTS(dense, "`{}` is factorised: its hidden units cannot move", shape.name);
    model.replace_layer(shape.name, std::make_shared<linalg::DenseOperator>(moved(dense->weight().view(), is_before ? Axis::rows : Axis::columns, order)));
    if (is_before && !shape.bias_tensor.empty()) biases.push_back(shape.name + ".bias");
  }
  for (auto& [name, tensor] : model.other_tensors()) {
    if (std::ranges::find(biases, name) == biases.end()) continue;
    const Tensor now = moved(std::as_const(*tensor).view(), Axis::columns, order);
    convert(now.view(), tensor->view());
  }
  return biases;
}

}  // namespace kronlab::experiments
