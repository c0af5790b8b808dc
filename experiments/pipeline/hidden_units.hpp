#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "decompositions/permutation/configured_search.hpp"
#include "experiments/pipeline/compression_plan.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::experiments {

/// Layers (places in a list) before and behind the hidden units of one block's MLP. Their order is free: where the rows
/// of the weights before and the columns of the weight behind move together, through GELU as through gates, the model
/// computes the same.
struct HiddenUnits {
  Index block = -1;
  std::vector<std::size_t> layers;  ///< in the model's sequence; the first one's rank searches
};

/// The hidden units whose order the stage searches (`absorb = true`), block after block.
std::vector<HiddenUnits> absorbed_units(const std::vector<PlannedLayer>& layers);

/// Marks the absorbing layers of a stage, whose searches then are one for each block.
/// @throws ConfigError for a layer that has no part in an MLP's hidden units, or whose partners are not in the stage with
/// absorb = true, or with statistics that are gathered anew between them
void plan_absorption(const ExperimentSpec& spec, const StageSpec& stage, const model::ModelConfig& config, std::vector<PlannedLayer>& layers);

/// Rows or columns: which axis of a layer the hidden units are.
decompositions::Axis hidden_axis(const PlannedLayer& layer);

/// A weight and what is known of it, for the search of an order that several share.
struct HiddenWeight {
  const PlannedLayer* layer = nullptr;
  const decompositions::Decomposer* decomposer = nullptr;
  Tensor weight;  ///< [out, in]
  const decompositions::LayerStatistics* statistics = nullptr;
};
/// The order of the hidden units that makes all these weights together easier to decompose; their other axes stay. In
/// `rows` of the result. @throws as ConfiguredSearch::find
decompositions::SearchResult find_hidden_order(const decompositions::ConfiguredSearch& search, const std::vector<HiddenWeight>& weights,
                                               const RandomStream& random, const std::function<decompositions::SearchStateStore*(Index start)>& store_of);

/// Puts a block's hidden units, all of whose layers are dense, in another order: unit order[i] comes to place i. The names
/// of the tensors beside the layers that moved too (biases).
std::vector<std::string> move_hidden_units(model::Transformer& model, Index block, const std::vector<Index>& order);

}  // namespace kronlab::experiments
