#include "experiments/pipeline/compress_stage.hpp"

#include <algorithm>
#include <list>
#include <numeric>
#include <set>
#include <utility>

#include "decompositions/matched_weight.hpp"
#include "experiments/pipeline/hidden_units.hpp"
#include "experiments/pipeline/layer_groups.hpp"
#include "experiments/pipeline/layer_tasks.hpp"
#include "experiments/pipeline/rank_speeds.hpp"
#include "experiments/pipeline/search_store.hpp"
#include "experiments/pipeline/stage_statistics.hpp"
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

using Group = LayerGroup;

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
        statistics_(communicator, input, student, found_),
        outcomes_(planned_.size()) {}

  StageOutcome run() {
    const auto groups = groups_of_layers(input_.spec, planned_, communicator_.size());
    auto speeds = input_.speeds.empty() ? rank_speeds(communicator_) : input_.speeds;
    std::vector<LayerTasks> tasks;
    GradientMomentsByLayer of_all;
    if (statistics_.is_sequential()) {  // small groups, one for each site: the backward passes are done once for all of them
      for (const auto& group : groups) tasks.emplace_back(layers_of(group), speeds);
      of_all = statistics_.gradient_moments_of(groups, tasks);
    }
    const double started_s = now_s();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      if (!statistics_.is_sequential()) tasks.emplace_back(layers_of(groups[g]), speeds);
      auto statistics = statistics_.of(groups[g], tasks[g]);
      auto gradients = statistics_.is_sequential() ? taken(of_all, groups[g])
                                                   : statistics_.gradient_moments_of(std::span(groups).subspan(g, 1), std::span(tasks).subspan(g, 1));
      busy_s_ = 0;
      decompose(groups[g], tasks[g], statistics, std::move(gradients));
      if (g + 1 == groups.size()) break;
      if (input_.speeds.empty()) speeds = speeds_after(communicator_, std::move(speeds), tasks[g].costs_of_ranks(), busy_s_);
      const double elapsed_s = now_s() - started_s;
      log_info(fmt::format("{}: group {} of {}, {} left", stage_.name, g + 1, groups.size(),
                           format_duration(elapsed_s / static_cast<double>(g + 1) * static_cast<double>(groups.size() - g - 1))));
    }
    return {std::move(outcomes_), std::move(moved_)};
  }

 private:
  std::vector<const PlannedLayer*> layers_of(const Group& group) const {
    std::vector<const PlannedLayer*> layers;
    for (const auto at : group.layers) layers.push_back(&planned_[at]);
    return layers;
  }

  /// What a group's layers own of all moments.
  GradientMomentsByLayer taken(GradientMomentsByLayer& all, const Group& group) const {
    GradientMomentsByLayer own;
    for (const auto at : group.layers) {
      if (auto found = all.extract(planned_[at].name)) own.insert(std::move(found));
    }
    return own;
  }

  /// Rank-local work of a group, whose time tells how fast this rank is. Collective.
  void work(const std::function<void()>& local_work) {
    comm::coordinate(communicator_, [&] {
      const double started_s = now_s();
      local_work();
      busy_s_ += now_s() - started_s;
    });
  }

  /// What is decomposed: the layer's weight, or the one that has its former outputs on the inputs of now.
  Tensor weight_for(const PlannedLayer& place, const LayerStatistics& statistics) const {
    Tensor weight = weight_at(student_, place);
    return statistics.reference_moments.size() == 0 ? std::move(weight) : decompositions::matched_weight(weight.view(), statistics, input_.spec.calibration->match_damping);
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
    const Tensor weight = weight_for(place, statistics);
    LayerOutcome outcome;
    outcome.name = place.name;
    decompositions::Decomposition result;
    const auto& part = stage_.parts[place.part];
    if (place.is_absorbed) {
      outcome.search = std::move(found);
      result = part.decomposer->decompose(place.name, weight.view(), statistics);
    } else if (part.search) {
      outcome.search = found ? std::move(found) : search(place, weight, statistics, 0);
      result = decompose_permuted(*part.decomposer, *outcome.search, place.name, weight.view(), statistics);
    } else {
      result = part.decomposer->decompose(place.name, weight.view(), statistics);
    }
    fill(outcome, std::move(result));
    outcome.seconds = now_s() - started_s;
    return outcome;
  }

  /// The result that `rank` has under a key, on all ranks. Collective.
  SearchResult broadcast_result(const std::map<std::size_t, SearchResult>& own, std::size_t key, int rank) const {
    const auto text = communicator_.broadcast(rank == communicator_.rank() ? decompositions::serialise(own.at(key)) : "", rank);
    return decompositions::deserialise_search_result(text);
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
    work([&] {
      const auto is_own = [&](std::size_t task) { return tasks.rank_of(task) == communicator_.rank(); };
      Progress progress(fmt::format("{}: starts of permutation searches on rank 0 of {}", stage_.name, communicator_.size()),
                        static_cast<Index>(std::ranges::count_if(shared, is_own)));
      for (const auto task : shared) {
        if (!is_own(task)) continue;
        const auto& place = planned_[group.layers[tasks.all()[task].layer]];
        own[task] = search(place, weight_for(place, statistics_for(place)), statistics_for(place), tasks.all()[task].start);
        progress.update(static_cast<Index>(own.size()), place.name);
      }
    });
    for (const auto task : shared) {
      const int rank = tasks.rank_of(task);
      auto result = broadcast_result(own, task, rank);
      const auto [best, is_first] = found.try_emplace(tasks.all()[task].layer, result);
      if (!is_first) decompositions::keep_best(best->second, std::move(result));
    }
    return found;
  }

  /// Searches the order of hidden units that layers of the group share, each block's on one rank, and puts the student's
  /// units and what is known of them in that order. Results by layer of the group. Collective.
  std::map<std::size_t, SearchResult> absorb(const Group& group, const LayerTasks& tasks, const StatisticsOf& statistics_for, SiteStatistics& statistics,
                                             GradientMomentsByLayer& gradients) {
    std::vector<std::vector<std::size_t>> units;  // by block: layers of the group
    for (std::size_t i = 0; i < group.layers.size(); ++i) {
      if (!planned_[group.layers[i]].is_absorbed) continue;
      if (first_with_units_of(planned_, group, i) == i) units.emplace_back();
      units.back().push_back(i);
    }
    std::map<std::size_t, SearchResult> found, own;  // own: by the first layer
    if (units.empty()) return found;
    work([&] {
      const auto is_own = [&](const auto& layers) { return tasks.owner(layers.front()) == communicator_.rank(); };
      Progress progress(fmt::format("{}: orders of hidden units on rank 0 of {}", stage_.name, communicator_.size()),
                        static_cast<Index>(std::ranges::count_if(units, is_own)));
      for (const auto& layers : units) {
        if (!is_own(layers)) continue;
        own[layers.front()] = search_hidden_order(group, layers, statistics_for);
        progress.update(static_cast<Index>(own.size()));
      }
    });
    for (const auto& layers : units) {
      const int rank = tasks.owner(layers.front());
      const auto result = broadcast_result(own, layers.front(), rank);
      const Index block = planned_[group.layers[layers.front()]].block;
      for (auto& name : move_hidden_units(student_, block, result.rows)) moved_.push_back(std::move(name));
      if (const auto hidden = statistics.find({block, model::InputSite::mlp_hidden}); hidden != statistics.end())
        hidden->second.input_moments = decompositions::reordered(hidden->second.input_moments, result.rows);
      for (const auto i : layers) {
        const auto& layer = planned_[group.layers[i]];
        const bool is_before = hidden_axis(layer) == decompositions::Axis::rows;
        if (const auto moments = gradients.find(layer.name); is_before && moments != gradients.end())
          moments->second = decompositions::reordered(moments->second, result.rows);
        found[i] = of_layer(result, layer, i == layers.front());
      }
    }
    return found;
  }

  SearchResult search_hidden_order(const Group& group, const std::vector<std::size_t>& layers, const StatisticsOf& statistics_for) const {
    std::vector<LayerStatistics> known;  // the same site's, with each layer's gradient
    known.reserve(layers.size());
    std::vector<HiddenWeight> weights;
    for (const auto i : layers) {
      const auto& layer = planned_[group.layers[i]];
      const auto& all = statistics_for(layer);
      known.emplace_back().num_tokens = all.num_tokens;
      if (all.input_moments.size() > 0) known.back().input_moments = to_matrix<double>(all.input_moments.view());
      if (all.gradient_moments.size() > 0) known.back().gradient_moments = to_matrix<double>(all.gradient_moments.view());
      weights.push_back({&layer, stage_.parts[layer.part].decomposer.get(), weight_at(student_, layer), &known.back()});
    }
    const auto& first = *weights.front().layer;
    std::list<SearchStateFile> files;
    const auto store_of = [&](Index start) -> decompositions::SearchStateStore* {
      if (input_.search_folder.empty()) return nullptr;
      return &files.emplace_back(input_.search_folder / fmt::format("block-{}-hidden-{}.json", first.block, start));
    };
    const auto random = RandomStream(input_.spec.seed).child("permutation").child(static_cast<std::uint64_t>(input_.stage)).child(first.name).child("hidden");
    return find_hidden_order(*stage_.parts[first.part].search, weights, random, store_of);
  }

  /// What is recorded of a layer: the order is of its rows or of its columns; the search is the first layer's.
  static SearchResult of_layer(const SearchResult& shared, const PlannedLayer& layer, bool is_first) {
    SearchResult result = shared;
    if (!is_first) result.curve.clear(), result.evaluated = result.accepted = 0;
    result.columns.resize(static_cast<std::size_t>(hidden_axis(layer) == decompositions::Axis::rows ? layer.cols : layer.rows));
    std::iota(result.columns.begin(), result.columns.end(), Index{0});
    if (hidden_axis(layer) == decompositions::Axis::columns) std::swap(result.rows, result.columns);
    return result;
  }

  /// A weight that all ranks decompose together: each takes its rows. Collective.
  LayerOutcome decompose_together(const PlannedLayer& place, const LayerStatistics& statistics) const {
    const double started_s = now_s();
    const auto rows = comm::block_range(place.rows, communicator_.rank(), communicator_.size());
    const Tensor weight = comm::coordinate(communicator_, [&] { return weight_for(place, statistics); });
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
    outcome.size = {result.factorization->num_parameters(), result.factorization->stored_bytes()};
    outcome.relative_error = result.relative_error;
    outcome.weighted_error = result.weighted_error;
    outcome.convergence = result.convergence;
    outcome.spectrum = std::move(result.spectrum);
    outcome.discarded_weights = std::move(result.discarded_weights);
  }

  void decompose(const Group& group, const LayerTasks& tasks, SiteStatistics& statistics,
                 GradientMomentsByLayer gradients) {
    const LayerStatistics nothing;
    const StatisticsOf statistics_for = [&](const PlannedLayer& layer) -> const LayerStatistics& {
      const auto found = statistics.find({layer.block, layer.site});
      if (found == statistics.end()) return nothing;
      const auto own = gradients.find(layer.name);  // layers of a site share its inputs, not their gradients
      if (own == gradients.end()) {
        found->second.gradient_moments = {};
      } else if (layer.num_starts > 1 || layer.is_absorbed) {  // asked for again by every start and by the decomposition
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
    auto searched = search_from_many_starts(group, tasks, statistics_for);
    searched.merge(absorb(group, tasks, statistics_for, statistics, gradients));
    work([&] {
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
  StageStatistics statistics_;
  std::vector<LayerOutcome> outcomes_;
  std::vector<std::string> moved_;  ///< tensors beside the layers that went with hidden units
  double busy_s_ = 0;               ///< of this rank with the group at hand
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

StageOutcome compress_stage(const comm::Communicator& communicator, const StageInput& input, model::Transformer& student) {
  return StageRunner(communicator, input, student).run();
}

}  // namespace kronlab::experiments
