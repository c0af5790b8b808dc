#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "experiments/pipeline/layer_groups.hpp"
#include "experiments/pipeline/layer_tasks.hpp"
#include "experiments/pipeline/measure_rates.hpp"
#include "experiments/pipeline/part_estimator.hpp"
#include "experiments/pipeline/sensitivity.hpp"
#include "experiments/pipeline/token_cost.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {
namespace {

class CompressionEstimator : PartEstimator {
 public:
  using PartEstimator::PartEstimator;

  void compress(std::size_t stage) {
    const auto& layers = plan_.stages[stage].layers;
    const auto groups = groups_of_layers(spec_, layers, num_ranks_);
    std::vector<LayerTasks> tasks;
    for (const auto& group : groups) {
      std::vector<const PlannedLayer*> of_group;
      for (const auto at : group.layers) of_group.push_back(&layers[at]);
      tasks.emplace_back(of_group, num_ranks_);
    }
    if (spec_.calibration) calibrate(stage, groups, tasks);
    decompose(stage, groups, tasks);
  }

  /// Of a unit, what is behind its change in the model before the stage.
  void measure_sensitivity(std::size_t stage) {
    const auto& sensitivity = *spec_.stages[stage].sensitivity;
    const auto units = sensitivity_units(sensitivity, plan_.stages[stage].layers, plan_.config.num_blocks);
    const TokenCost cost(spec_, plan_, static_cast<Index>(stage) - 1, sensitivity.text.window, rates_);
    const double tokens = static_cast<double>(sensitivity.text.tokens / sensitivity.text.window * sensitivity.text.window);
    const auto of_unit = [&](const SensitivityUnit& unit) {
      double token = cost.scored_head();
      for (Index block = std::max<Index>(unit.block, 0); block < plan_.config.num_blocks; ++block) token += cost.block(block);
      return on_cores(tokens * token);
    };
    const auto owners = owners_of(units, plan_.config, num_ranks_);
    std::vector<double> busy(static_cast<std::size_t>(num_ranks_));
    for (std::size_t i = 0; i < units.size(); ++i) busy[static_cast<std::size_t>(owners[i])] += of_unit(units[i]);
    auto& p = part("sensitivity", static_cast<Index>(stage), memory_.stages[stage].sensitivity);
    p.seconds = std::ranges::max(busy) + on_cores(tokens * (2 * cost.all_blocks() + cost.logits()));
    if (static_cast<Index>(units.size()) < num_ranks_) limit(fmt::format("sensitivity of stage {}: {} units, so {} of {} ranks are idle", stage, units.size(), num_ranks_ - static_cast<int>(units.size()), num_ranks_));
  }

 private:
  /// What rank `owner` receives of arrays of `bytes`, one a window, which every rank has summed over its own.
  double summed_into(int owner, double bytes, Index windows) const {
    double received = 0;
    for (int rank = 0; rank < num_ranks_; ++rank) {
      if (rank != owner) received += 8 + static_cast<double>(num_nodes(windows, rank)) * (24 + bytes);
    }
    return received;
  }

  void calibrate(std::size_t stage, const std::vector<LayerGroup>& groups, const std::vector<LayerTasks>& tasks) {
    const auto& calibration = *spec_.calibration;
    const auto& layers = plan_.stages[stage].layers;
    const Index window = calibration.text.window, windows = calibration.text.tokens / window;
    const double own_windows = ceiling(static_cast<double>(windows) / num_ranks_), own_tokens = own_windows * static_cast<double>(window);
    const double streams = calibration.match_outputs ? 2 : 1;
    const TokenCost cost(spec_, plan_, static_cast<Index>(stage) - 1, window, rates_);
    auto& p = part("calibration", static_cast<Index>(stage), memory_.calibration);
    std::set<std::pair<Index, model::InputSite>> sites;
    double collected_s = 0;
    Index last_block = -1;
    bool needs_head = false;
    std::map<Index, double> passes;  // by block: once, and once for each group of it where calibration is sequential
    for (std::size_t g = 0; g < groups.size(); ++g) {
      for (std::size_t i = 0; i < groups[g].layers.size(); ++i) {
        const auto& layer = layers[groups[g].layers[i]];
        if (!has_statistics(spec_, layer) || !sites.emplace(layer.block, layer.site).second) continue;
        needs_head = needs_head || layer.block < 0;
        last_block = std::max(last_block, layer.block);
        if (calibration.sequential && layer.block >= 0) passes[layer.block] += 1;
        const double bytes = 8 * static_cast<double>(layer.cols * layer.cols);
        const double with_reference = streams > 1 ? 2e-9 * static_cast<double>(window * layer.cols * layer.cols) : 0.0;
        const double products = own_windows * (gram_gflop(window, layer.cols) + with_reference);
        p.seconds += on_cores(products / rates_.gemm_fp64_gflops) + memory(own_windows * streams * 5 * bytes);
        const double received = summed_into(layer.is_distributed ? 0 : tasks[g].owner(i), bytes, windows);
        const double further = static_cast<double>(needing(groups[g], tasks[g], layers, layer, num_ranks_) - 1) * bytes;
        p.moved_bytes += streams * (received + further);
        collected_s += streams * (wire(received + further) + num_ranks_ * latency()) + memory(streams * 2 * received);
        if (!calibration.sequential && stage == 0) p.seconds += disk(bytes) / std::min<double>(num_ranks_, static_cast<double>(layers.size()));
      }
    }
    if (sites.empty() && !needs_gradients(layers)) {
      result_.parts.pop_back();
      return;
    }
    if (needs_head) last_block = plan_.config.num_blocks - 1;
    for (Index block = 0; block <= last_block; ++block) {
      const double again = calibration.sequential ? passes[block] + (block < last_block ? 1 : 0) : 1;
      p.seconds += on_cores(own_tokens * streams * std::max(again, 1.0) * cost.block(block));
    }
    p.seconds += collected_s;
    if (needs_gradients(layers)) gradients(stage, groups, tasks, p);
    if (windows < num_ranks_) limit(fmt::format("calibration: {} windows, so {} of {} ranks are idle", windows, num_ranks_ - windows, num_ranks_));
    if (num_ranks_ > 1 && collected_s > 0.1 * p.seconds) {
      limit(fmt::format("calibration of stage {}: second moments go from all ranks to one rank, site after site: {} of it, the more the more ranks", stage,
                        format_duration(collected_s)));
    }
  }

  static bool needs_gradients(const std::vector<PlannedLayer>& layers) {
    return std::ranges::any_of(layers, [](const PlannedLayer& layer) { return layer.gradient_moments > 0; });
  }

  /// Ranks that work on the layers of a site.
  static Index needing(const LayerGroup& group, const LayerTasks& tasks, const std::vector<PlannedLayer>& layers, const PlannedLayer& of, int num_ranks) {
    std::set<int> ranks;
    for (std::size_t i = 0; i < group.layers.size(); ++i) {
      const auto& layer = layers[group.layers[i]];
      if (layer.block != of.block || layer.site != of.site) continue;
      for (const int rank : tasks.ranks_of(i)) ranks.insert(rank);
      if (layer.is_distributed) return num_ranks;
    }
    return static_cast<Index>(ranks.size());
  }

  /// A forward and a backward pass over the first tokens, for each group of layers, or once where calibration is sequential.
  void gradients(std::size_t stage, const std::vector<LayerGroup>& groups, const std::vector<LayerTasks>& tasks, PartEstimate& p) {
    const auto& calibration = *spec_.calibration;
    const auto& layers = plan_.stages[stage].layers;
    const Index window = calibration.text.window, windows = calibration.gradient_tokens / window;
    const double own_windows = ceiling(static_cast<double>(windows) / num_ranks_), own_tokens = own_windows * static_cast<double>(window);
    const TokenCost cost(spec_, plan_, static_cast<Index>(stage) - 1, window, rates_);
    const auto pass = [&](Index first_block) {
      const double loss = 1e-9 * static_cast<double>(plan_.config.vocab_size) / rates_.loss_glogits_s;
      return own_tokens * (cost.all_blocks() + cost.logits() + loss + cost.backward(first_block, {}));
    };
    Index first = plan_.config.num_blocks;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      Index first_of_group = plan_.config.num_blocks;
      for (std::size_t i = 0; i < groups[g].layers.size(); ++i) {
        const auto& layer = layers[groups[g].layers[i]];
        if (layer.gradient_moments == 0) continue;
        first_of_group = std::min(first_of_group, layer.block);
        const double bytes = 8 * static_cast<double>(layer.gradient_moments);
        const bool is_full = layer.gradient_moments > layer.rows;
        if (is_full) p.seconds += on_cores(own_windows * gram_gflop(window, layer.rows) / rates_.gemm_fp64_gflops);
        p.seconds += memory(own_windows * 5 * bytes);
        const double received = summed_into(tasks[g].owner(i), bytes, windows);
        p.moved_bytes += received;
        p.seconds += wire(received) + num_ranks_ * latency();
      }
      if (!calibration.sequential && first_of_group < plan_.config.num_blocks) p.seconds += on_cores(pass(first_of_group));
      first = std::min(first, first_of_group);
    }
    if (calibration.sequential) p.seconds += on_cores(pass(first));
    if (!calibration.sequential && groups.size() > 1) {
      limit(fmt::format("loss gradients of stage {}: {} passes over their text, one for each group of layers whose moments fit memory_mb", stage,
                        groups.size()));
    }
  }

  void decompose(std::size_t stage, const std::vector<LayerGroup>& groups, const std::vector<LayerTasks>& tasks) {
    const auto& layers = plan_.stages[stage].layers;
    const Index memory = memory_.stages[stage].decomposition;
    PartEstimate search, decomposition;
    double longest = 0, factors = 0;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      std::vector<double> searching(static_cast<std::size_t>(num_ranks_)), decomposing(searching.size());
      double together = 0;
      for (std::size_t i = 0; i < groups[g].layers.size(); ++i) {
        const auto& layer = layers[groups[g].layers[i]];
        const auto& spec = spec_.stages[stage].parts[layer.part];
        const double macs = spec.decomposer->cost(layer.rows, layer.cols);
        const double seconds = on_cores(1e-9 * macs / rates_.decompose(std::string(spec.decomposer->kind())));
        const auto owner = static_cast<std::size_t>(tasks[g].owner(i));
        if (layer.is_distributed) {
          together += seconds / num_ranks_;
        } else {
          decomposing[owner] += seconds;
          longest = std::max(longest, seconds);
        }
        if (spec.search) {
          const double rate = rates_.search(std::string(spec.search->search->kind()));
          const double further = static_cast<double>(layer.num_starts - 1) * layer.start_cost;
          searching[owner] += on_cores(1e-9 * std::max(layer.cost - further - macs, 0.0) / rate);
          for (const int rank : start_ranks(tasks[g], i)) searching[static_cast<std::size_t>(rank)] += on_cores(1e-9 * layer.start_cost / rate);
          longest = std::max(longest, seconds + on_cores(1e-9 * layer.start_cost / rate));
          if (layer.num_starts > 1) broadcast(search, 8 * static_cast<double>(layer.rows + layer.cols), static_cast<double>(layer.num_starts));
        }
        broadcast(decomposition, static_cast<double>(layer.bytes_after));
        factors += static_cast<double>(layer.bytes_after);
      }
      search.seconds += std::ranges::max(searching);
      decomposition.seconds += std::ranges::max(decomposing) + together;
    }
    if (search.seconds > 0) {
      auto& p = part("search", static_cast<Index>(stage), memory);
      p.seconds = search.seconds, p.moved_bytes = search.moved_bytes;
    }
    auto& p = part("decomposition", static_cast<Index>(stage), memory);
    p.moved_bytes = decomposition.moved_bytes;
    p.seconds = decomposition.seconds + disk(factors);
    const double all = search.seconds + decomposition.seconds;
    if (groups.size() > 1 && static_cast<double>(layers.size()) < 2.0 * num_ranks_ * static_cast<double>(groups.size())) {
      limit(fmt::format("decomposition of stage {}: {} groups of layers one after another, with fewer than two layers a rank in each", stage, groups.size()));
    } else if (num_ranks_ > 1 && longest > 0.5 * all) {
      limit(fmt::format("decomposition of stage {}: the longest layer takes {} of {}; ranks beyond {} do nothing for it", stage, format_duration(longest),
                        format_duration(all), layers.size()));
    }
  }

  /// Where the starts of a layer's search after the first one go.
  static std::vector<int> start_ranks(const LayerTasks& tasks, std::size_t layer) {
    std::vector<int> ranks;
    for (std::size_t task = 0; task < tasks.all().size(); ++task) {
      if (tasks.all()[task].layer == layer && tasks.all()[task].start > 0) ranks.push_back(tasks.rank_of(task));
    }
    return ranks;
  }
};

}  // namespace

void estimate_compression(const EstimatedRun& run, std::size_t stage, ScaleEstimate& result) { CompressionEstimator(run, result).compress(stage); }

void estimate_sensitivity(const EstimatedRun& run, std::size_t stage, ScaleEstimate& result) { CompressionEstimator(run, result).measure_sensitivity(stage); }

}  // namespace kronlab::experiments
