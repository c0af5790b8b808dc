#include <algorithm>
#include <cmath>

#include "experiments/pipeline/part_estimator.hpp"
#include "experiments/pipeline/token_cost.hpp"

namespace kronlab::experiments {
namespace {

class TrainingEstimator : PartEstimator {
 public:
  using PartEstimator::PartEstimator;

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

 private:
  static double training_steps(const DistillSpec& distill, const TrainingTextSpec& text) {
    if (distill.steps) return static_cast<double>(*distill.steps);
    const double of_step = static_cast<double>(distill.trainer.tokens_per_step());
    if (distill.tokens) return ceiling(static_cast<double>(*distill.tokens) / of_step);
    double tokens = 0;
    for (const auto& path : text.paths) tokens += tokens_in(path);
    return ceiling(*distill.epochs * tokens / of_step);
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
      const auto own = static_cast<double>(num_nodes(options.num_micro_batches, rank));
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
};

}  // namespace

void estimate_training(const EstimatedRun& run, std::size_t stage, ScaleEstimate& result) { TrainingEstimator(run, result).distill(stage); }

}  // namespace kronlab::experiments
