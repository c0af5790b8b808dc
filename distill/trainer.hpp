#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "distill/distillation_loss.hpp"
#include "distill/gradient_sum.hpp"
#include "distill/optimizer.hpp"
#include "framework/comm/communicator.hpp"
#include "framework/model/training_pass.hpp"

namespace kronlab::distill {

/// How a step is computed.
struct TrainerOptions {
  model::Precision precision = model::Precision::fp32;
  model::Recompute recompute = model::Recompute::none;
  Index window = 512;             ///< tokens of a sequence
  Index micro_batch = 4;          ///< sequences that go through the model together
  Index num_micro_batches = 1;    ///< of a step, over all ranks
  double clip_norm = 1.0;         ///< 0: no clipping
  bool shard_optimizer = true;    ///< a rank keeps the moments of its pieces only, else those of all
  AdamWOptions adamw;

  Index windows_per_step() const { return micro_batch * num_micro_batches; }
  Index tokens_per_step() const { return window * windows_per_step(); }
};

/// What a step did: the same on all ranks.
struct StepResult {
  LossValues loss;             ///< mean over the micro-batches, before the update
  double gradient_norm = 0.0;  ///< before clipping
  bool was_skipped = false;    ///< the loss or the gradient was not finite: nothing was changed
  std::string not_finite;      ///< then: the first tensor whose gradient is not, or "loss"
};

/// Trains a model over ranks: each takes a contiguous range of a step's micro-batches, runs teacher and student over
/// them and adds their gradients in a fixed binary tree (GradientSum). With the same number of threads, 1, 2 and more
/// ranks give the same bits in parameters and losses, with the optimizer sharded or not.
class Trainer {
 public:
  /// Fills the ids of window `index` of the step (0 .. windows_per_step() - 1).
  using WindowSource = std::function<void(Index index, std::span<std::int32_t> ids)>;

  /// `teacher` is null where the loss needs none. All must outlive this. Values are converted to f64 for fp64.
  /// Collective.
  Trainer(const comm::Communicator& communicator, const model::Transformer& student, const model::Transformer* teacher, DistillationLoss& loss,
          model::Parameters& parameters, std::vector<TensorSettings> settings, const TrainerOptions& options);

  /// One step of this learning rate. Collective. @throws CollectiveError as the source
  StepResult step(double rate, const WindowSource& windows);

  AdamW& optimizer() { return *optimizer_; }
  const model::Parameters& parameters() const { return parameters_; }
  const GradientSum& gradient_sum() const { return sum_; }
  /// An array of the gradients' extent and type that is free between two steps.
  Tensor& spare_elements() { return sum_.total().elements(); }
  const TrainerOptions& options() const { return options_; }

 private:
  LossValues run_micro_batches(const WindowSource& windows);
  std::string first_not_finite();
  void update(double rate, double gradient_scale);
  void share_values();

  const comm::Communicator& communicator_;
  DistillationLoss& loss_;
  model::Parameters& parameters_;
  TrainerOptions options_;
  GradientSum sum_;
  std::unique_ptr<AdamW> optimizer_;
  model::TrainingPass student_;
  std::unique_ptr<model::TrainingPass> teacher_;
};

}  // namespace kronlab::distill
