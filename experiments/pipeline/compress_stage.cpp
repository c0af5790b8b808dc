#include "experiments/pipeline/compress_stage.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "experiments/pipeline/gradient_calibration.hpp"
#include "experiments/pipeline/layer_tasks.hpp"
#include "experiments/pipeline/search_store.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {
namespace {

using decompositions::FactorizationParts;
using decompositions::LayerStatistics;
using decompositions::SearchResult;

using StatisticsOf = std::function<const LayerStatistics&(const PlannedLayer&)>;

/// The part of a factorization that a path such as "left" or "left.left" names; permutations on the way are passed.
FactorizationParts& part_at(FactorizationParts& whole, const PlannedLayer& place) {
  FactorizationParts* at = &whole;
  for (std::string_view rest = place.factor; !rest.empty();) {
    const std::size_t dot = rest.find('.');
    const std::string name(rest.substr(0, dot));
    rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
    while (at->kind == "permuted") at = &at->children.at("inner");
    const auto found = at->children.find(name);
    KRONLAB_EXPECTS(found != at->children.end(), "`{}`: a {} has no factor '{}'", place.name, at->kind, name);
    at = &found->second;
  }
  return *at;
}

FactorizationParts parts_of(const model::Transformer& student, const std::string& layer) {
  const auto* factorization = dynamic_cast<const decompositions::Factorization*>(student.layer(layer).get());
  KRONLAB_EXPECTS(factorization, "layer `{}` is not factorised", layer);
  return factorization->parts();
}

/// The weight in float32: [out, in].
Tensor weight_at(const model::Transformer& student, const PlannedLayer& place) {
  if (place.factor.empty()) return student.layer(place.layer)->to_dense();
  auto whole = parts_of(student, place.layer);
  auto& part = part_at(whole, place);
  KRONLAB_EXPECTS(part.kind == "dense", "`{}` is not dense but {}", place.name, part.kind);
  return std::move(part.tensors.at("weight"));
}

/// Consecutive layers whose statistics are held at one time, and how far calibration must have come for them.
struct Group {
  std::vector<std::size_t> layers;  ///< places in the stage's list
  Index last_block = -1;
};

/// Everything that one stage needs while it runs.
class StageRunner {
 public:
  StageRunner(const comm::Communicator& communicator, const StageInput& input, model::Transformer& student)
      : communicator_(communicator),
        input_(input),
        student_(student),
        planned_(input.plan.stages[input.stage].layers),
        stage_(input.spec.stages[input.stage]),
        found_(student.share()),
        outcomes_(planned_.size()) {}

  std::vector<LayerOutcome> run() {
    const auto groups = groups_of_layers();
    const double started_s = now_s();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const auto& group = groups[g];
      std::vector<const PlannedLayer*> layers;
      for (const auto at : group.layers) layers.push_back(&planned_[at]);
      const LayerTasks tasks(layers, communicator_.size());
      auto statistics = statistics_of(group, tasks);
      decompose(group, tasks, statistics, gradient_moments_of(group, tasks));
      if (groups.size() > 1) {
        const double elapsed_s = now_s() - started_s;
        log_info(fmt::format(
            "{}: group {} of {}, {} left", stage_.name, g + 1, groups.size(),
            format_duration(elapsed_s / static_cast<double>(g + 1) * static_cast<double>(groups.size() - g - 1))));
      }
    }
    return std::move(outcomes_);
  }

 private:
  bool is_sequential() const { return input_.spec.calibration && input_.spec.calibration->sequential; }
  bool has_statistics(const PlannedLayer& layer) const {
    return input_.spec.calibration && layer.site != model::InputSite::none;
  }

  std::vector<Group> groups_of_layers() const {
    const Index budget =
        input_.spec.calibration ? input_.spec.calibration->memory_mb * (Index{1} << 20) * communicator_.size() : 0;
    std::vector<Group> groups;
    std::set<Site> sites;
    Index bytes = 0;
    for (std::size_t at = 0; at < planned_.size(); ++at) {
      const auto& layer = planned_[at];
      const bool is_new_site = has_statistics(layer) && !sites.contains({layer.block, layer.site});
      const Index more = (is_new_site ? 8 * layer.cols * layer.cols : 0) + 8 * layer.gradient_moments;
      const bool is_new_block = !groups.empty() && has_statistics(layer) && layer.block != groups.back().last_block;
      if (groups.empty() || (is_new_block && (is_sequential() || bytes + more > budget))) {
        groups.push_back({{}, layer.block});
        bytes = 0;
      }
      groups.back().layers.push_back(at);
      if (has_statistics(layer)) groups.back().last_block = layer.block;
      sites.insert({layer.block, layer.site});
      bytes += more;
    }
    return groups;
  }

  std::vector<int> ranks_at_work(const PlannedLayer& layer, std::vector<int> with_tasks) const {
    if (!layer.is_distributed) return with_tasks;
    std::vector<int> all(static_cast<std::size_t>(communicator_.size()));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }

  SiteOwners owners_of(const Group& group, const LayerTasks& tasks) const {
    SiteOwners owners;
    for (std::size_t i = 0; i < group.layers.size(); ++i) {
      const auto& layer = planned_[group.layers[i]];
      if (!has_statistics(layer)) continue;
      auto& ranks = owners[{layer.block, layer.site}];
      for (const int rank : ranks_at_work(layer, tasks.ranks_of(i))) {
        if (std::ranges::find(ranks, rank) == ranks.end()) ranks.push_back(rank);
      }
    }
    return owners;
  }

  SiteStatistics statistics_of(const Group& group, const LayerTasks& tasks) {
    const SiteOwners owners = owners_of(group, tasks);
    if (owners.empty()) return {};
    if (is_sequential()) return gather(owners);
    if (is_cached(owners)) return load(owners);
    auto statistics = gather(owners);
    if (input_.cache) save(owners, statistics);
    return statistics;
  }

  /// Moments of the loss gradient, by layer, of the model as this stage found it (with sequential calibration: as it is now).
  std::map<std::string, Matrix<double>> gradient_moments_of(const Group& group, const LayerTasks& tasks) {
    std::map<std::string, GradientRequest> wanted;
    for (std::size_t i = 0; i < group.layers.size(); ++i) {
      const auto& layer = planned_[group.layers[i]];
      const auto kind = stage_.parts[layer.part].gradient_moments();
      if (kind == decompositions::GradientMoments::none) continue;
      wanted[layer.name] = {layer.block, kind, ranks_at_work(layer, tasks.ranks_of(i))};
    }
    if (wanted.empty()) return {};
    const auto& calibration = *input_.spec.calibration;
    const std::vector<std::int32_t> ids(input_.calibration_ids.begin(), input_.calibration_ids.begin() + calibration.gradient_tokens);
    return gradient_moments(communicator_, is_sequential() ? student_ : found_, ids, calibration.text.window, input_.spec.precision, wanted,
                            fmt::format("{}: loss gradients of {} layers from {} tokens, window", stage_.name, wanted.size(), ids.size()));
  }

  /// Root's look at the disk decides for all.
  bool is_cached(const SiteOwners& owners) const {
    if (!input_.cache) return false;
    auto all = static_cast<Index>(
        std::ranges::all_of(owners, [&](const auto& entry) { return input_.cache->has(entry.first); }));
    communicator_.broadcast(std::span<Index>(&all, 1));
    return all == 1;
  }

  SiteStatistics load(const SiteOwners& owners) const {
    return comm::coordinate(communicator_, [&] {
      SiteStatistics statistics;
      for (const auto& [site, ranks] : owners) {
        if (std::ranges::find(ranks, communicator_.rank()) != ranks.end()) statistics[site] = input_.cache->load(site);
      }
      return statistics;
    });
  }

  void save(const SiteOwners& owners, const SiteStatistics& statistics) const {
    comm::coordinate(communicator_, [&] {
      for (const auto& [site, ranks] : owners) {
        if (ranks.front() == communicator_.rank()) input_.cache->save(site, statistics.at(site));
      }
    });
  }

  SiteStatistics gather(const SiteOwners& owners) {
    const auto& calibration = *input_.spec.calibration;
    if (!calibration_) {
      calibration_ = std::make_unique<Calibration>(communicator_, student_, input_.calibration_ids,
                                                   calibration.text.window, input_.spec.precision);
    }
    SiteOwners in_blocks = owners;
    const Site head{-1, model::InputSite::head};
    in_blocks.erase(head);
    const Index last = owners.contains(head) ? student_.config().num_blocks : in_blocks.rbegin()->first.block + 1;
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

  /// One start of a layer's permutation search, from where a killed run left it.
  SearchResult search(const PlannedLayer& place, const Tensor& weight, const LayerStatistics& statistics, Index start) const {
    const auto& part = stage_.parts[place.part];
    const auto random = RandomStream(input_.spec.seed)
                            .child("permutation")
                            .child(static_cast<std::uint64_t>(input_.stage))
                            .child(place.name);
    SearchStateFile file(input_.search_folder / fmt::format("{}-{}.json", place.name, start));
    return part.search->find_from(start, *part.decomposer, place.name, weight.view(), statistics, random,
                                  input_.search_folder.empty() ? nullptr : &file);
  }

  LayerOutcome decompose_one(const PlannedLayer& place, const LayerStatistics& statistics, std::optional<SearchResult> found) const {
    const double started_s = now_s();
    const Tensor weight = weight_at(student_, place);
    LayerOutcome outcome;
    outcome.name = place.name;
    decompositions::Decomposition result;
    const auto& part = stage_.parts[place.part];
    if (part.search) {
      outcome.search = found ? std::move(found) : search(place, weight, statistics, 0);
      result = decompose_permuted(*part.decomposer, *outcome.search, place.name, weight.view(), statistics);
    } else {
      result = part.decomposer->decompose(place.name, weight.view(), statistics);
    }
    fill(outcome, std::move(result));
    outcome.seconds = now_s() - started_s;
    return outcome;
  }

  /// Searches with several starts, each start on the rank that has it; the best result, the first of equal ones, by layer
  /// of the group. Collective.
  std::map<std::size_t, SearchResult> search_from_many_starts(const Group& group, const LayerTasks& tasks, const StatisticsOf& statistics_for) {
    std::vector<std::size_t> shared;  // tasks
    for (std::size_t task = 0; task < tasks.all().size(); ++task) {
      if (planned_[group.layers[tasks.all()[task].layer]].num_starts > 1) shared.push_back(task);
    }
    std::map<std::size_t, SearchResult> found;
    if (shared.empty()) return found;
    std::map<std::size_t, SearchResult> own;  // by task
    comm::coordinate(communicator_, [&] {
      const auto is_own = [&](std::size_t task) { return tasks.rank_of(task) == communicator_.rank(); };
      Progress progress(fmt::format("{}: starts of permutation searches on rank 0 of {}", stage_.name, communicator_.size()),
                        static_cast<Index>(std::ranges::count_if(shared, is_own)));
      for (const auto task : shared) {
        if (!is_own(task)) continue;
        const auto& place = planned_[group.layers[tasks.all()[task].layer]];
        own[task] = search(place, weight_at(student_, place), statistics_for(place), tasks.all()[task].start);
        progress.update(static_cast<Index>(own.size()), place.name);
      }
    });
    for (const auto task : shared) {
      const int rank = tasks.rank_of(task);
      const auto text = communicator_.broadcast(rank == communicator_.rank() ? decompositions::serialise(own.at(task)) : "", rank);
      auto result = decompositions::deserialise_search_result(text);
      const auto [best, is_first] = found.try_emplace(tasks.all()[task].layer, result);
      if (!is_first) decompositions::keep_best(best->second, std::move(result));
    }
    return found;
  }

  /// A weight that all ranks decompose together: each takes its rows. Collective.
  LayerOutcome decompose_together(const PlannedLayer& place, const LayerStatistics& statistics) const {
    const double started_s = now_s();
    const auto rows = comm::block_range(place.rows, communicator_.rank(), communicator_.size());
    const Tensor weight = comm::coordinate(communicator_, [&] { return weight_at(student_, place); });
    LayerOutcome outcome;
    outcome.name = place.name;
    fill(outcome, stage_.parts[place.part].decomposer->decompose(
                      communicator_, place.name, weight.view().block(rows.begin, 0, rows.size(), place.cols),
                      place.rows, place.cols, statistics));
    outcome.seconds = now_s() - started_s;
    return outcome;
  }

  static void fill(LayerOutcome& outcome, decompositions::Decomposition result) {
    outcome.parts = result.factorization->parts();
    outcome.relative_error = result.relative_error;
    outcome.weighted_error = result.weighted_error;
    outcome.convergence = result.convergence;
    outcome.spectrum = std::move(result.spectrum);
  }

  void decompose(const Group& group, const LayerTasks& tasks, SiteStatistics& statistics,
                 std::map<std::string, Matrix<double>> gradients) {
    const LayerStatistics nothing;
    const StatisticsOf statistics_for = [&](const PlannedLayer& layer) -> const LayerStatistics& {
      const auto found = statistics.find({layer.block, layer.site});
      if (found == statistics.end()) return nothing;
      const auto own = gradients.find(layer.name);  // layers of a site share its inputs, not their gradients
      if (own == gradients.end()) {
        found->second.gradient_moments = {};
      } else if (layer.num_starts > 1) {  // asked for again by every start and by the decomposition
        found->second.gradient_moments = own->second;
      } else {
        found->second.gradient_moments = std::move(own->second);
      }
      return found->second;
    };
    for (const auto at : group.layers) {
      if (!planned_[at].is_distributed) continue;
      log_info(fmt::format("{}: {} on all {} rank(s) together", stage_.name, planned_[at].name, communicator_.size()));
      outcomes_[at] = decompose_together(planned_[at], statistics_for(planned_[at]));
    }
    const auto searched = search_from_many_starts(group, tasks, statistics_for);
    comm::coordinate(communicator_, [&] {
      std::vector<std::size_t> own;
      for (std::size_t i = 0; i < group.layers.size(); ++i) {
        if (!planned_[group.layers[i]].is_distributed && tasks.owner(i) == communicator_.rank()) own.push_back(i);
      }
      Progress progress(fmt::format("{}: {} of {} layers on rank 0 of {}: {}", stage_.name, own.size(),
                                    group.layers.size(), communicator_.size(), input_.plan.stages[input_.stage].method),
                        static_cast<Index>(own.size()));
      for (std::size_t i = 0; i < own.size(); ++i) {
        const auto at = group.layers[own[i]];
        const auto found = searched.find(own[i]);
        outcomes_[at] = decompose_one(planned_[at], statistics_for(planned_[at]), found == searched.end() ? std::nullopt : std::optional(found->second));
        progress.update(static_cast<Index>(i + 1), planned_[at].name);
      }
    });
    for (std::size_t i = 0; i < group.layers.size(); ++i) {
      const auto at = group.layers[i];
      outcomes_[at] = broadcast(communicator_, std::move(outcomes_[at]), tasks.owner(i));
      install(student_, planned_[at], outcomes_[at].parts);
    }
  }

  const comm::Communicator& communicator_;
  const StageInput& input_;
  model::Transformer& student_;
  const std::vector<PlannedLayer>& planned_;
  const StageSpec& stage_;
  model::Transformer found_;  ///< the student before the stage; shares its weights
  std::vector<LayerOutcome> outcomes_;
  std::unique_ptr<Calibration> calibration_;
};

}  // namespace

void install(model::Transformer& student, const PlannedLayer& place, const FactorizationParts& parts) {
  if (place.factor.empty()) {
    student.replace_layer(place.layer, decompositions::make_factorization(decompositions::copy_of(parts)));
    return;
  }
  auto whole = parts_of(student, place.layer);
  part_at(whole, place) = decompositions::copy_of(parts);
  student.replace_layer(place.layer, decompositions::make_factorization(std::move(whole)));
}

std::vector<LayerOutcome> compress_stage(const comm::Communicator& communicator, const StageInput& input,
                                         model::Transformer& student) {
  return StageRunner(communicator, input, student).run();
}

}  // namespace kronlab::experiments
