#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "experiments/pipeline/distill_spec.hpp"
#include "experiments/pipeline/training_text.hpp"
#include "framework/base/metric.hpp"
#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// Who keeps the numbers of a training. All members are collective and agree over ranks.
class TrainingRecord {
 public:
  virtual ~TrainingRecord() = default;
  virtual void record(const std::vector<Metric>& metrics) = 0;
  /// What was recorded up to here is on the disk.
  virtual void flush() = 0;
  /// Not collective, on root: throws if another process has taken the run over, so that this one replaces nothing of its.
  virtual void expect_current() = 0;
  /// Steps after `step` will be done again.
  virtual void forget_steps_after(Index step) = 0;
};

/// What a distillation works with.
struct DistillInput {
  const DistillSpec& spec;
  Index stage = 0;
  std::string name;                 ///< of the stage
  std::string identity;             ///< of configuration and data, for checkpoints
  std::filesystem::path folder;     ///< of the stage
  RandomStream random;              ///< for what the loss learns
  model::Precision precision = model::Precision::fp32;
};

/// How a distillation ended.
struct DistillOutcome {
  Index num_steps = 0;            ///< that the student went through
  std::vector<std::string> trained;  ///< names of the layers and other tensors that learned
  double seconds = 0.0;           ///< of the whole training
};

/// Trains the student against a teacher (null where the losses need none), from its last checkpoint on if there is one.
/// Validates, checkpoints and ends early as the specification says. Bit-equal for any number of ranks, with or without
/// stops between. Collective.
/// @throws CollectiveError as Trainer and TrainingCheckpoints, or when too many steps in a row are not finite;
/// Interrupted after a checkpoint when a signal asked to stop
DistillOutcome distill_stage(const comm::Communicator& communicator, const DistillInput& input, model::Transformer& student,
                             const model::Transformer* teacher, TrainingText& text, TrainingRecord& record);

/// Whether a layer or another tensor of the student learns. @throws ConfigError if a pattern fits nothing
model::Parameters::Predicate learning_predicate(const DistillSpec& spec, const model::Transformer& student);

}  // namespace kronlab::experiments
