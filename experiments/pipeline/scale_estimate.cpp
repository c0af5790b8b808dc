#include "experiments/pipeline/scale_estimate.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "experiments/pipeline/part_estimator.hpp"
#include "experiments/pipeline/token_cost.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::experiments {
namespace {

/// What no stage changes: loading, evaluations, and what every rank holds.
class RunEstimator : PartEstimator {
 public:
  using PartEstimator::PartEstimator;

  // The files are hashed, one by one rank; then every rank reads all tensors that it needs and holds them as float32.
  void load(double model_bytes) {
    auto& p = part("load", -1, 0);
    const bool has_files = spec_.student.init != StudentSpec::Init::random || spec_.needs_dense_teacher();
    if (has_files) {
      const double float32 = static_cast<double>(plan_.teacher.stored_bytes);
      const double read = spec_.runs_the_model() ? float32 * num_ranks_ : bytes_to_decompose();
      p.read_bytes = model_bytes * (1 + read / float32);
      p.seconds += hash(model_bytes) + disk(model_bytes) + on_cores(1e-9 * read / num_ranks_ / rates_.load_gb_s);
    }
    double tokens = spec_.calibration ? static_cast<double>(spec_.calibration->text.tokens) : 0.0;
    for (const auto& evaluation : spec_.evaluations) tokens += tokens_in(evaluation.path);
    broadcast(p, 4 * tokens);
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

  void limit_of_weights() {
    if (num_ranks_ == 1) return;
    if (!spec_.runs_the_model()) return limit(fmt::format("every rank holds all factors: {} of each rank's memory, for any number of ranks", format_bytes(static_cast<double>(memory_.weights))));
    limit(fmt::format("every rank reads all weights and holds all of {}: {} of each rank's memory, for any number of ranks",
                      spec_.needs_dense_teacher() ? "student and teacher" : "the student", format_bytes(static_cast<double>(memory_.weights))));
  }

 private:
  /// Of the weights, as float32; each is read by the rank that decomposes it.
  double bytes_to_decompose() const {
    double bytes = 0;
    for (const auto& stage : plan_.stages) {
      for (const auto& layer : stage.layers) bytes += 4 * static_cast<double>(layer.parameters_before) * (layer.is_distributed ? num_ranks_ : 1);
    }
    return bytes;
  }
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
  const EstimatedRun run{spec, plan, rates, num_ranks, threads, estimated_memory(spec, plan, num_ranks)};
  ScaleEstimate result;
  RunEstimator whole(run, result);
  whole.load(model_bytes > 0 ? model_bytes : 2 * static_cast<double>(plan.teacher.parameters));
  whole.evaluate(-1);
  for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
    if (!plan.stages[stage].layers.empty()) {
      estimate_compression(run, stage, result);
      whole.evaluate(static_cast<Index>(stage));
    }
    if (spec.stages[stage].sensitivity) estimate_sensitivity(run, stage, result);
    if (spec.stages[stage].distill) {
      estimate_training(run, stage, result);
      whole.evaluate(static_cast<Index>(stage));
    }
  }
  whole.limit_of_weights();
  return result;
}

}  // namespace kronlab::experiments
