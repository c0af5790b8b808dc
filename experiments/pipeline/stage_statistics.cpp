#include "experiments/pipeline/stage_statistics.hpp"

#include <algorithm>
#include <numeric>

#include "experiments/pipeline/gradient_calibration.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {

std::size_t first_with_units_of(const std::vector<PlannedLayer>& planned, const LayerGroup& group, std::size_t i) {
  const auto shares = [&](std::size_t at) { return planned[at].is_absorbed && planned[at].block == planned[group.layers[i]].block; };
  return static_cast<std::size_t>(std::ranges::find_if(group.layers, shares) - group.layers.begin());
}

StageStatistics::StageStatistics(const comm::Communicator& communicator, const StageInput& input, const model::Transformer& student,
                                 const model::Transformer& found)
    : communicator_(communicator),
      input_(input),
      student_(student),
      found_(found),
      planned_(input.plan.stages[input.stage].layers),
      stage_(input.spec.stages[input.stage]) {}

SiteStatistics StageStatistics::of(const LayerGroup& group, const LayerTasks& tasks) {
  const SiteOwners owners = owners_of(group, tasks);
  if (owners.empty()) return {};
  if (is_sequential()) return gather(owners);
  if (is_cached(owners)) return load(owners);
  auto statistics = gather(owners);
  if (input_.cache) save(owners, statistics);
  return statistics;
}

GradientMomentsByLayer StageStatistics::gradient_moments_of(std::span<const LayerGroup> groups, std::span<const LayerTasks> tasks) const {
  std::map<std::string, GradientRequest> wanted;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::size_t i = 0; i < groups[g].layers.size(); ++i) {
      const auto& layer = planned_[groups[g].layers[i]];
      const auto kind = stage_.parts[layer.part].gradient_moments();
      if (kind == decompositions::GradientMoments::none) continue;
      wanted[layer.name] = {layer.block, kind, ranks_at_work(groups[g], tasks[g], i)};
    }
  }
  if (wanted.empty()) return {};
  const auto& calibration = *input_.spec.calibration;
  const std::vector<std::int32_t> ids(input_.calibration_ids.begin(), input_.calibration_ids.begin() + calibration.gradient_tokens);
  return gradient_moments(communicator_, found_, ids, calibration.text.window, input_.spec.precision, wanted,
                          fmt::format("{}: loss gradients of {} layers from {} tokens, window", stage_.name, wanted.size(), ids.size()));
}

/// Ranks that need what is known of a layer of the group, one that decomposes it first.
std::vector<int> StageStatistics::ranks_at_work(const LayerGroup& group, const LayerTasks& tasks, std::size_t i) const {
  const auto& layer = planned_[group.layers[i]];
  std::vector<int> ranks = tasks.ranks_of(i);
  if (layer.is_distributed) {
    ranks.resize(static_cast<std::size_t>(communicator_.size()));
    std::iota(ranks.begin(), ranks.end(), 0);
  } else if (layer.is_absorbed) {
    if (const int searching = tasks.owner(first_with_units_of(planned_, group, i)); searching != ranks.front()) ranks.push_back(searching);
  }
  return ranks;
}

SiteOwners StageStatistics::owners_of(const LayerGroup& group, const LayerTasks& tasks) const {
  SiteOwners owners;
  for (std::size_t i = 0; i < group.layers.size(); ++i) {
    const auto& layer = planned_[group.layers[i]];
    if (!has_statistics(input_.spec, layer)) continue;
    auto& ranks = owners[{layer.block, layer.site}];
    for (const int rank : ranks_at_work(group, tasks, i)) {
      if (std::ranges::find(ranks, rank) == ranks.end()) ranks.push_back(rank);
    }
  }
  return owners;
}

/// Root's look at the disk decides for all.
bool StageStatistics::is_cached(const SiteOwners& owners) const {
  if (!input_.cache) return false;
  auto all = static_cast<Index>(
      std::ranges::all_of(owners, [&](const auto& entry) { return input_.cache->has(entry.first); }));
  communicator_.broadcast(std::span<Index>(&all, 1));
  return all == 1;
}

SiteStatistics StageStatistics::load(const SiteOwners& owners) const {
  return comm::coordinate(communicator_, [&] {
    SiteStatistics statistics;
    for (const auto& [site, ranks] : owners) {
      if (std::ranges::find(ranks, communicator_.rank()) != ranks.end()) statistics[site] = input_.cache->load(site);
    }
    return statistics;
  });
}

void StageStatistics::save(const SiteOwners& owners, const SiteStatistics& statistics) const {
  comm::coordinate(communicator_, [&] {
    for (const auto& [site, ranks] : owners) {
      if (ranks.front() == communicator_.rank()) input_.cache->save(site, statistics.at(site));
    }
  });
}

SiteStatistics StageStatistics::gather(const SiteOwners& owners) {
  const auto& calibration = *input_.spec.calibration;
  if (!calibration_) {
    calibration_ = std::make_unique<Calibration>(communicator_, student_, input_.calibration_ids,
                                                 calibration.text.window, input_.spec.precision);
  }
  SiteOwners in_blocks = owners;
  const Site head{-1, model::InputSite::head};
  in_blocks.erase(head);
  const Index last = owners.contains(head) ? student_.config().num_blocks : in_blocks.rbegin()->first.block + 1;
  if (calibration.match_outputs) calibration_->follow(found_);
  Progress progress(fmt::format("{}: statistics of {} sites from {} tokens, block", stage_.name, owners.size(),
                                calibration_->num_tokens()),
                    last);
  SiteStatistics statistics;
  while (calibration_->next_block() < last) {
    const Index block = calibration_->next_block();
    const bool is_here =
        std::ranges::any_of(in_blocks, [&](const auto& entry) { return entry.first.block == block; });
    // A block that is about to be compressed is run again, compressed, when the next group needs its outputs.
    if (is_sequential() && is_here) return calibration_->observe(student_, in_blocks);
    statistics.merge(calibration_->run_to(student_, block + 1, in_blocks));
    progress.update(block + 1);
  }
  if (owners.contains(head)) statistics.merge(calibration_->observe_head(student_, owners.at(head)));
  return statistics;
}

}  // namespace kronlab::experiments
