#pragma once

#include <optional>
#include <string>
#include <vector>

#include "distill/schedule.hpp"
#include "distill/trainer.hpp"
#include "framework/config/strict_table.hpp"

namespace kronlab::experiments {

/// `[data] distillation`: the text that students are trained on.
struct TrainingTextSpec {
  std::vector<std::string> paths;
  std::vector<double> weights;  ///< of the paths: how often their windows are drawn; equal unless given
  Index window = 512;           ///< tokens of a sequence
  Index holdout = 0;            ///< windows, over all paths, that are kept for validation
};

/// The layer patterns at a key. @throws ConfigError with its place if one of them is none
std::vector<std::string> patterns_from(const config::StrictTable& table, const std::string& key);

/// Settings of the tensors whose names fit a pattern.
struct ParameterGroup {
  std::vector<std::string> parameters;  ///< patterns
  double rate_factor = 1.0;
  std::optional<double> weight_decay;
};

/// `distill` of a `[[stage]]`.
struct DistillSpec {
  // One of the three says how long.
  std::optional<Index> steps, tokens;
  std::optional<double> epochs;
  distill::LossOptions losses;
  distill::TrainerOptions trainer;  ///< but the window
  double rate = 0.0;                ///< peak learning rate
  distill::Schedule schedule;
  double weight_decay = 0.0;        ///< of matrices
  /// Whether a tensor's learning rate is a fraction of the root mean square of its values at the start.
  enum class RateUnit { absolute, rms } rate_unit = RateUnit::absolute;
  std::vector<ParameterGroup> groups;
  enum class Train { all, factors, listed } train = Train::all;
  std::vector<std::string> listed;  ///< patterns of layers and other tensors
  enum class Teacher { dense, previous } teacher = Teacher::dense;
  enum class Result { last, best } result = Result::last;
  Index validate_every = 0;  ///< steps; 0: never
  Index patience = 0;        ///< validations without a new best before it ends early; 0: never
  Index max_skipped = 5;     ///< steps in a row whose loss is not finite before it fails
  struct Checkpoints {
    Index every_steps = 0;       ///< 0: not by steps
    double every_minutes = 10;   ///< 0: not by time
    Index keep = 1;              ///< the last ones; the best one is kept too
  } checkpoints;

  /// @throws ConfigError with file, line and column
  static DistillSpec from(const config::StrictTable& table, const TrainingTextSpec& text);
  /// Optimizer steps over a text with this many training windows.
  Index num_steps(Index num_windows) const;
};

}  // namespace kronlab::experiments
