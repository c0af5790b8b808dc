#include "experiments/pipeline/scale_estimate.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <numeric>

#include "experiments/pipeline/layer_groups.hpp"
#include "experiments/pipeline/layer_tasks.hpp"
#include "experiments/pipeline/measure_rates.hpp"
#include "experiments/pipeline/memory_estimate.hpp"
#include "experiments/pipeline/sensitivity.hpp"
#include "experiments/pipeline/token_cost.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::experiments {
namespace {

constexpr double bytes_per_token = 4.5;

double tokens_in(const std::string& path) {
  std::error_code unknown;
  const auto bytes = std::filesystem::file_size(path, unknown);
  return unknown ? 300'000.0 : static_cast<double>(bytes) / bytes_per_token;
}

double ceiling(double value) { return std::ceil(value - 1e-9); }

/// Partial sums that rank `rank` of `num_ranks` is left with of `count` arrays: as TreeSum and GradientSum have them.
Index num_nodes(Index count, int rank, int num_ranks) {
  std::vector<std::pair<Index, Index>> nodes;  // level, index
  const auto range = comm::block_range(count, rank, num_ranks);
  for (Index i = range.begin; i < range.end; ++i) {
    std::pair<Index, Index> node{0, i};
    while (!nodes.empty() && nodes.back().first == node.first && node.second % 2 == 1 && nodes.back().second + 1 == node.second) {
      node = {node.first + 1, node.second / 2};
      nodes.pop_back();
    }
    nodes.push_back(node);
  }
  return static_cast<Index>(nodes.size());
}

/// Walks through a run.
class Estimator {
 public:
  Estimator(const ExperimentSpec& spec, const CompressionPlan& plan, double model_bytes, const MachineRates& rates, int num_ranks, int threads)
      : spec_(spec),
        plan_(plan),
        rates_(rates),
        num_ranks_(num_ranks),
        threads_(threads),
        memory_(estimated_memory(spec, plan, num_ranks)),
        model_bytes_(model_bytes > 0 ? model_bytes : 2 * static_cast<double>(plan.teacher.parameters)) {}

  ScaleEstimate all() {
    load();
    evaluate(-1);
    for (std::size_t stage = 0; stage < plan_.stages.size(); ++stage) {
      if (!plan_.stages[stage].layers.empty()) {
        compress(stage);
        evaluate(static_cast<Index>(stage));
      }
      if (spec_.stages[stage].sensitivity) measure_sensitivity(stage);
      if (spec_.stages[stage].distill) {
        distill(stage);
        evaluate(static_cast<Index>(stage));
      }
    }
    limit_of_weights();
    return std::move(result_);
  }

 private:
  PartEstimate& part(const char* name, Index stage, Index memory) {
    PartEstimate made;
    made.name = name, made.stage = stage, made.memory_bytes = static_cast<double>(memory_.base() + memory);
    return result_.parts.emplace_back(std::move(made));
  }
  void limit(std::string text) { result_.limits.push_back(std::move(text)); }

  // A rank's work and its messages.
  double on_cores(double core_seconds) const { return core_seconds / threads_; }
  double wire(double bytes) const { return num_ranks_ > 1 ? 1e-9 * bytes / rates_.network_gb_s : 0.0; }
  double latency() const { return num_ranks_ > 1 ? 1e-6 * rates_.network_latency_us : 0.0; }
  /// A tree of messages.
  double rounds() const { return std::ceil(std::log2(static_cast<double>(num_ranks_))); }
  double memory(double bytes) const { return on_cores(1e-9 * bytes / rates_.memory_gb_s); }
  double disk(double bytes) const { return 1e-9 * bytes / rates_.disk_gb_s; }
  double hash(double bytes) const { return 1e-9 * bytes / rates_.hash_gb_s; }

  void broadcast(PartEstimate& to, double bytes, double times = 1) const {
    to.moved_bytes += moved_by_broadcast(bytes * times, num_ranks_);
    to.seconds += times * (wire(bytes) + rounds() * latency());
  }

  // The files are hashed, one by one rank; then every rank reads all tensors that it needs and holds them as float32.
  void load() {
    auto& p = part("load", -1, 0);
    const bool has_files = spec_.student.init != StudentSpec::Init::random || spec_.needs_dense_teacher();
    if (has_files) {
      const double float32 = static_cast<double>(plan_.teacher.stored_bytes);
      const double read = spec_.runs_the_model() ? float32 * num_ranks_ : bytes_to_decompose();
      p.read_bytes = model_bytes_ * (1 + read / float32);
      p.seconds += hash(model_bytes_) + disk(model_bytes_) + on_cores(1e-9 * read / num_ranks_ / rates_.load_gb_s);
    }
    double tokens = spec_.calibration ? static_cast<double>(spec_.calibration->text.tokens) : 0.0;
    for (const auto& evaluation : spec_.evaluations) tokens += tokens_in(evaluation.path);
    broadcast(p, 4 * tokens);
  }

  /// Of the weights, as float32; each is read by the rank that decomposes it.
  double bytes_to_decompose() const {
    double bytes = 0;
    for (const auto& stage : plan_.stages) {
      for (const auto& layer : stage.layers) bytes += 4 * static_cast<double>(layer.parameters_before) * (layer.is_distributed ? num_ranks_ : 1);
    }
    return bytes;
  }

  void evaluate(Index stage) {
    if (spec_.evaluations.empty()) return;
    auto& p = part("evaluation", stage, memory_.evaluation);
    for (const auto& evaluation : spec_.evaluations) {
      const double window = static_cast<double>(evaluation.protocol.window), stride = static_cast<double>(evaluation.protocol.stride);
      double windows = std::max(1.0, ceiling((tokens_in(evaluation.path) - window) / stride) + 1);
      if (evaluation.max_windows > 0) windows = std::min(windows, static_cast<double>(evaluation.max_windows));
      const double together = std::max(1.0, std::floor(1024 / window));  // windows of one forward pass
      const double batches = ceiling(windows / together);
      const TokenCost cost(spec_, plan_, stage, evaluation.protocol.window, rates_);
      const double own = std::min(windows, ceiling(batches / num_ranks_) * together);
      p.seconds += on_cores(own * (window - 1) * cost.evaluation());
      if (evaluation.divergence && stage >= 0) {  // both models once more
        const TokenCost dense(spec_, plan_, -1, evaluation.protocol.window, rates_);
        p.seconds += on_cores(own * (window - 1) * (cost.evaluation() + dense.evaluation()));
      }
      p.moved_bytes += moved_by_sum(2 * 8 * windows, num_ranks_);
      p.seconds += 2 * rounds() * latency();
      if (stage == -1 && batches < num_ranks_) {
        limit(fmt::format("evaluation on {}: {:.0f} batches of windows, so {:.0f} of {} ranks are idle", evaluation.name, batches, num_ranks_ - batches,
                          num_ranks_));
      }
    }
  }

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

  /// What rank `owner` receives of arrays of `bytes`, one a window, which every rank has summed over its own.
  double summed_into(int owner, double bytes, Index windows) const {
    double received = 0;
    for (int rank = 0; rank < num_ranks_; ++rank) {
      if (rank != owner) received += 8 + static_cast<double>(num_nodes(windows, rank, num_ranks_)) * (24 + bytes);
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

  static double training_steps(const DistillSpec& distill, const TrainingTextSpec& text) {
    if (distill.steps) return static_cast<double>(*distill.steps);
    const double of_step = static_cast<double>(distill.trainer.tokens_per_step());
    if (distill.tokens) return ceiling(static_cast<double>(*distill.tokens) / of_step);
    double tokens = 0;
    for (const auto& path : text.paths) tokens += tokens_in(path);
    return ceiling(*distill.epochs * tokens / of_step);
  }

  void distill(std::size_t stage) {
    const auto& distill = *spec_.stages[stage].distill;
    const auto& options = distill.trainer;
    const auto learning = learning_names(spec_, plan_, stage);
    const auto parameters = parameters_by_name(plan_, stage);
    const auto shapes = model::linear_layers(plan_.config);
    double learned = 0;
    Index first_block = plan_.config.num_blocks;
    for (const auto& name : learning) {
      learned += static_cast<double>(parameters.at(name));
      const auto shape = std::ranges::find(shapes, name, &model::LayerShape::name);
      first_block = std::min(first_block, shape == shapes.end() ? 0 : std::max<Index>(shape->block, 0));
    }
    const double number = static_cast<double>(size_of(model::stream_type(spec_.precision)));
    const double steps = training_steps(distill, *spec_.training_text);
    const double own = ceiling(static_cast<double>(options.num_micro_batches) / num_ranks_);
    const double micro_batch = static_cast<double>(options.micro_batch * options.window), vocabulary = static_cast<double>(plan_.config.vocab_size);
    const TokenCost cost(spec_, plan_, static_cast<Index>(stage), options.window, rates_);
    auto& p = part("distillation", static_cast<Index>(stage), memory_.stages[stage].training);
    double token = cost.all_blocks() + cost.logits() + 1e-9 * vocabulary / rates_.loss_glogits_s + cost.backward(first_block, learning);
    const auto num_blocks = static_cast<double>(plan_.config.num_blocks);
    if (options.recompute == model::Recompute::blocks) token += cost.all_blocks() * (num_blocks - static_cast<double>(first_block) - 1) / num_blocks;
    if (distill.losses.needs_teacher()) token += teacher_token(distill, stage);
    double step = on_cores(own * micro_batch * token);
    // gradients are set to zero and added; the optimizer moves 28 bytes a parameter of its own; the values that it changed are converted or copied
    const double own_share = options.shard_optimizer ? 1.0 / num_ranks_ : 1.0;
    const double conversion = spec_.precision == model::Precision::bf16 ? 6 : 0;
    step += memory(((own + 3 * std::max(own - 1, 0.0)) * number + 32 * own_share + conversion) * learned);
    step += exchange(p, number * learned, options, steps);
    p.seconds = steps * step + validation(distill, cost, steps);
    checkpoint(p, learned * number, distill, steps);
    if (options.num_micro_batches < num_ranks_) {
      limit(fmt::format("distillation of stage {}: {} micro-batches a step, so {} of {} ranks compute nothing", stage, options.num_micro_batches,
                        num_ranks_ - options.num_micro_batches, num_ranks_));
    }
  }

  double teacher_token(const DistillSpec& distill, std::size_t stage) const {
    if (distill.teacher == DistillSpec::Teacher::previous) {
      const TokenCost cost(spec_, plan_, static_cast<Index>(stage) - 1, distill.trainer.window, rates_);
      return cost.all_blocks() + cost.logits();
    }
    auto config = plan_.config;
    if (!spec_.student.blocks.empty() || !spec_.student.config.empty()) config.num_blocks = std::max(config.num_blocks, teacher_blocks());
    const TokenCost cost(config, spec_.precision, distill.trainer.window, rates_);
    return cost.all_blocks() + cost.logits();
  }

  /// Of the dense model, from its size: blocks like the student's.
  Index teacher_blocks() const {
    auto one = plan_.config;
    one.num_blocks = 1;
    auto two = one;
    two.num_blocks = 2;
    const Index block = model::num_parameters(two) - model::num_parameters(one), rest = model::num_parameters(one) - block;
    return std::max<Index>(1, (plan_.teacher.parameters - rest) / block);
  }

  /// Of a step: gradients to the ranks that sum their pieces, and the changed values back.
  double exchange(PartEstimate& p, double bytes, const distill::TrainerOptions& options, double steps) const {
    if (num_ranks_ == 1) return 0;
    double nodes = 0, most = 0;
    for (int rank = 0; rank < num_ranks_; ++rank) {
      const auto own = static_cast<double>(num_nodes(options.num_micro_batches, rank, num_ranks_));
      nodes += own, most = std::max(most, own);
    }
    const double others = (num_ranks_ - 1.0) / num_ranks_;
    p.moved_bytes += steps * (nodes * bytes * others + moved_by_all_gather(bytes, num_ranks_));
    const double of_busiest = std::max(most * bytes * others, nodes / num_ranks_ * bytes * others) + bytes * others;
    const double buckets = static_cast<double>(plan_.config.num_blocks + 2);
    return wire(of_busiest) + 2 * buckets * (num_ranks_ - 1) * latency() + memory(6 * bytes);
  }

  double validation(const DistillSpec& distill, const TokenCost& cost, double steps) const {
    if (distill.validate_every == 0) return 0;
    const double times = ceiling(steps / static_cast<double>(distill.validate_every));
    const double own = ceiling(static_cast<double>(spec_.training_text->holdout) / num_ranks_);
    return times * on_cores(own * static_cast<double>(spec_.training_text->window) * cost.evaluation());
  }

  /// At the end, and as often as the specification says: root writes three arrays and hashes them, two are gathered first.
  void checkpoint(PartEstimate& p, double bytes, const DistillSpec& distill, double steps) const {
    const double once = 3 * (disk(bytes) + hash(bytes)) + 2 * wire(bytes);
    double times = 1;
    if (distill.checkpoints.every_steps > 0) times += std::floor((steps - 1) / static_cast<double>(distill.checkpoints.every_steps));
    if (distill.checkpoints.every_minutes > 0) times += std::floor(p.seconds / (60 * distill.checkpoints.every_minutes + once));
    p.seconds += times * once;
    p.moved_bytes += times * 2 * moved_by_all_gather(bytes, num_ranks_);
  }

  void limit_of_weights() {
    if (num_ranks_ == 1) return;
    if (!spec_.runs_the_model()) return limit(fmt::format("every rank holds all factors: {} of each rank's memory, for any number of ranks", format_bytes(static_cast<double>(memory_.weights))));
    limit(fmt::format("every rank reads all weights and holds all of {}: {} of each rank's memory, for any number of ranks",
                      spec_.needs_dense_teacher() ? "student and teacher" : "the student", format_bytes(static_cast<double>(memory_.weights))));
  }

  const ExperimentSpec& spec_;
  const CompressionPlan& plan_;
  const MachineRates& rates_;
  int num_ranks_, threads_;
  MemoryEstimate memory_;
  double model_bytes_;
  ScaleEstimate result_;
};

template <class Member>
double total(const std::vector<PartEstimate>& parts, Member member) {
  return std::accumulate(parts.begin(), parts.end(), 0.0, [&](double sum, const PartEstimate& part) { return sum + part.*member; });
}

}  // namespace

double ScaleEstimate::seconds() const { return total(parts, &PartEstimate::seconds); }
double ScaleEstimate::moved_bytes() const { return total(parts, &PartEstimate::moved_bytes); }
double ScaleEstimate::read_bytes() const { return total(parts, &PartEstimate::read_bytes); }
double ScaleEstimate::memory_bytes() const {
  double most = 0;
  for (const auto& part : parts) most = std::max(most, part.memory_bytes);
  return most;
}

ScaleEstimate estimate_scale(const ExperimentSpec& spec, const CompressionPlan& plan, double model_bytes, const MachineRates& rates, int num_ranks,
                             int threads) {
  return Estimator(spec, plan, model_bytes, rates, num_ranks, threads).all();
}

}  // namespace kronlab::experiments
