#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "decompositions/registry.hpp"
#include "experiments/pipeline/budget_spec.hpp"
#include "experiments/pipeline/distill_spec.hpp"
#include "framework/config/sweep.hpp"
#include "framework/eval/protocol.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::experiments {

/// `[model]`: what is compressed.
struct ModelSpec {
  enum class Head { as_is, tied, untied };
  std::string path;
  Head head = Head::as_is;
};

/// `[student]`: what is compressed and trained, if it is not the model as it is.
struct StudentSpec {
  std::vector<Index> blocks;  ///< of the model's; empty: all
  enum class Init { model, random } init = Init::model;
  std::string config;         ///< path of a config.json of its own shape, whose weights are random; empty: the model's

  /// What a student that is not the dense model starts from; empty: it is.
  std::string start() const;
};

/// Text from one or more files, and how much of it.
struct TextSpec {
  std::vector<std::string> paths;
  Index tokens = 65536;
  Index window = 1024;
};

/// `[data] calibration`: where layer statistics come from.
struct CalibrationSpec {
  TextSpec text;
  bool sequential = false;  ///< later layers see the inputs that compressed earlier ones produce
  bool match_outputs = false;  ///< each is fitted to the outputs that it had in the model as the stage found it
  double match_damping = 1e-3;  ///< of matched_weight
  Index memory_mb = 1024;   ///< statistics that a rank may hold at one time
  Index gradient_tokens = 0;  ///< the first ones, for moments of the loss gradient
};

/// One `[[evaluate]]`.
struct EvaluationSpec {
  std::string name;
  std::string path;
  eval::Protocol protocol;
  Index max_windows = 0;               ///< 0: all
  bool divergence = false;             ///< from the model as it is, too
  std::optional<double> expect_dense;  ///< perplexity of the dense model, checked before anything else
  double expect_tolerance = 0.01;      ///< relative
};

/// Layers that are decomposed alike: a stage of its own, or one `[[stage.part]]` of several.
struct PartSpec {
  std::vector<std::string> layers;  ///< patterns
  std::unique_ptr<decompositions::Decomposer> decomposer;
  std::optional<decompositions::ConfiguredSearch> search;
  std::string method;  ///< "permuted(kronecker)"
  bool needs_statistics() const;
  /// What of the loss gradient's moments its decomposer and its search need, whichever is more.
  decompositions::GradientMoments gradient_moments() const;
};

/// `[stage.sensitivity]`: what each of the stage's layers costs the model alone, on one text.
struct SensitivitySpec {
  enum class By { layer, block };
  TextSpec text;  ///< one file
  By by = By::layer;  ///< what is changed at one time: a layer, or those of a block
};

/// One `[[stage]]`: what is compressed together, and how the student is trained then.
struct StageSpec {
  std::string name;
  std::vector<PartSpec> parts;  ///< none: the stage only trains
  std::optional<SensitivitySpec> sensitivity;
  std::optional<DistillSpec> distill;
  std::optional<double> predicted_kl;  ///< nat/token, by who planned it: compared with what is measured
};

/// A run's configuration, checked. Paths are absolute.
struct ExperimentSpec {
  std::string name, question, paper;
  std::uint64_t seed = 0;
  model::Precision precision = model::Precision::fp32;
  ModelSpec model;
  StudentSpec student;
  std::optional<CalibrationSpec> calibration;
  std::optional<TrainingTextSpec> training_text;
  std::vector<EvaluationSpec> evaluations;
  std::vector<StageSpec> stages;
  std::optional<BudgetSpec> budget;  ///< for who plans another experiment from what this one measures
  Index distribute_above = 0;  ///< elements of a weight from which on all ranks decompose it together; 0: never
  config::Value resolved;      ///< everything above as TOML, defaults included

  /// Whether any stage trains against the model as it is on disk, or is compared with it.
  bool needs_dense_teacher() const;
  /// Whether text goes through the model at all; if not, a rank reads the weights that it decomposes and no others.
  bool runs_the_model() const;
  /// Relative paths belong to `folder`; $NAME and ${NAME} in paths are variables of the environment.
  /// @throws ConfigError with file, line, column, what was found and what is known
  static ExperimentSpec read(const config::Value& run, const std::string& folder);
};

/// The protocol of a table `{ kind = "token-perplexity", window = 1024, ... }`.
eval::Protocol protocol_from(const config::StrictTable& table);

/// A resolved configuration without what cannot change a result: names, paths and words. Equal for equal cells.
std::string identity_of(const config::Value& resolved);

}  // namespace kronlab::experiments
