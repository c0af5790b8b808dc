#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experiments/pipeline/calibration.hpp"
#include "experiments/pipeline/compress_stage.hpp"
#include "experiments/pipeline/layer_groups.hpp"
#include "experiments/pipeline/layer_tasks.hpp"

namespace kronlab::experiments {

using GradientMomentsByLayer = std::map<std::string, Matrix<double>>;

/// The first layer of a group that shares its hidden units' order with layer i of it: its rank searches that order.
std::size_t first_with_units_of(const std::vector<PlannedLayer>& planned, const LayerGroup& group, std::size_t i);

/// What a stage's layers need to know of their data, from the cache or gathered from calibration text, each at the ranks
/// that work on it. Every member is collective.
class StageStatistics {
 public:
  /// `student` is the model that the stage changes, `found` what it was before.
  StageStatistics(const comm::Communicator& communicator, const StageInput& input, const model::Transformer& student, const model::Transformer& found);

  /// Whether later layers see the inputs that compressed earlier ones produce.
  bool is_sequential() const { return input_.spec.calibration && input_.spec.calibration->sequential; }
  /// Second moments of the inputs of a group's layers. Groups are asked for in their sequence.
  SiteStatistics of(const LayerGroup& group, const LayerTasks& tasks);
  /// Moments of the loss gradient, by layer, of the model as this stage found it.
  GradientMomentsByLayer gradient_moments_of(std::span<const LayerGroup> groups, std::span<const LayerTasks> tasks) const;

 private:
  std::vector<int> ranks_at_work(const LayerGroup& group, const LayerTasks& tasks, std::size_t i) const;
  SiteOwners owners_of(const LayerGroup& group, const LayerTasks& tasks) const;
  bool is_cached(const SiteOwners& owners) const;
  SiteStatistics load(const SiteOwners& owners) const;
  void save(const SiteOwners& owners, const SiteStatistics& statistics) const;
  SiteStatistics gather(const SiteOwners& owners);

  const comm::Communicator& communicator_;
  const StageInput& input_;
  const model::Transformer& student_;
  const model::Transformer& found_;
  const std::vector<PlannedLayer>& planned_;
  const StageSpec& stage_;
  std::unique_ptr<Calibration> calibration_;
};

}  // namespace kronlab::experiments
