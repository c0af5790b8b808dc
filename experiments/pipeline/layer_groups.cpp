#include "experiments/pipeline/layer_groups.hpp"

#include <set>
#include <utility>

namespace kronlab::experiments {

bool has_statistics(const ExperimentSpec& spec, const PlannedLayer& layer) { return spec.calibration && layer.site != model::InputSite::none; }

std::vector<LayerGroup> groups_of_layers(const ExperimentSpec& spec, const std::vector<PlannedLayer>& layers, int num_ranks) {
  const bool is_sequential = spec.calibration && spec.calibration->sequential;
  const Index budget = spec.calibration ? spec.calibration->memory_mb * (Index{1} << 20) * num_ranks : 0;
  std::vector<LayerGroup> groups;
  std::set<std::pair<Index, model::InputSite>> sites;
  Index bytes = 0;
  for (std::size_t at = 0; at < layers.size(); ++at) {
    const auto& layer = layers[at];
    const bool is_known = has_statistics(spec, layer);
    const bool is_new_site = is_known && !sites.contains({layer.block, layer.site});
    const Index more = (is_new_site ? 8 * layer.cols * layer.cols : 0) + 8 * layer.gradient_moments;
    const bool is_new_block = !groups.empty() && is_known && layer.block != groups.back().last_block;
    // Layers of one site see the same inputs; those of the next see what these have become.
    const bool is_next_site = is_sequential && is_new_site;
    if (groups.empty() || is_next_site || (is_new_block && bytes + more > budget)) {
      groups.push_back({{}, layer.block});
      bytes = 0;
    }
    groups.back().layers.push_back(at);
    if (is_known) groups.back().last_block = layer.block;
    sites.insert({layer.block, layer.site});
    bytes += more;
  }
  return groups;
}

}  // namespace kronlab::experiments
