#pragma once

#include <string>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/machine_rates.hpp"
#include "experiments/pipeline/memory_estimate.hpp"
#include "experiments/pipeline/scale_estimate.hpp"

namespace kronlab::experiments {

/// The run that is estimated, and where. References live as long as an estimator.
struct EstimatedRun {
  const ExperimentSpec& spec;
  const CompressionPlan& plan;
  const MachineRates& rates;
  int num_ranks, threads;
  MemoryEstimate memory;
};

/// What the estimators of a run's parts share: how long a rank's work and its messages take, and where they put what they find.
class PartEstimator {
 public:
  PartEstimator(const EstimatedRun& run, ScaleEstimate& result)
      : spec_(run.spec), plan_(run.plan), rates_(run.rates), num_ranks_(run.num_ranks), threads_(run.threads), memory_(run.memory), result_(result) {}

 protected:
  /// A new part; `memory`: of a rank, besides program and weights [B].
  PartEstimate& part(const char* name, Index stage, Index memory) const;
  void limit(std::string text) const { result_.limits.push_back(std::move(text)); }

  // Seconds of a rank's work and its messages.
  double on_cores(double core_seconds) const { return core_seconds / threads_; }
  double wire(double bytes) const { return num_ranks_ > 1 ? 1e-9 * bytes / rates_.network_gb_s : 0.0; }
  double latency() const { return num_ranks_ > 1 ? 1e-6 * rates_.network_latency_us : 0.0; }
  /// A tree of messages.
  double rounds() const;
  double memory(double bytes) const { return on_cores(1e-9 * bytes / rates_.memory_gb_s); }
  double disk(double bytes) const { return 1e-9 * bytes / rates_.disk_gb_s; }
  double hash(double bytes) const { return 1e-9 * bytes / rates_.hash_gb_s; }

  void broadcast(PartEstimate& to, double bytes, double times = 1) const;

  /// Partial sums that rank `rank` is left with of `count` arrays: as TreeSum and GradientSum have them.
  Index num_nodes(Index count, int rank) const;

  /// In a text: a token is 4.5 bytes, a file that is not there 300,000 tokens.
  static double tokens_in(const std::string& path);
  /// Up to the next whole number, but for rounding.
  static double ceiling(double value);

  const ExperimentSpec& spec_;
  const CompressionPlan& plan_;
  const MachineRates& rates_;
  const int num_ranks_, threads_;
  const MemoryEstimate& memory_;
  ScaleEstimate& result_;
};

/// Statistics, decompositions and sensitivity of a stage.
void estimate_compression(const EstimatedRun& run, std::size_t stage, ScaleEstimate& result);
void estimate_sensitivity(const EstimatedRun& run, std::size_t stage, ScaleEstimate& result);
/// Distillation or training of a stage.
void estimate_training(const EstimatedRun& run, std::size_t stage, ScaleEstimate& result);

}  // namespace kronlab::experiments
