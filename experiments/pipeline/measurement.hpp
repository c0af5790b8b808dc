#pragma once

#include <string>
#include <vector>

#include "experiments/pipeline/experiment_spec.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "framework/base/metric.hpp"
#include "framework/eval/divergence.hpp"
#include "framework/storage/run_store.hpp"

namespace kronlab::experiments {

/// A text of the experiment, tokenised, with the hash of its file.
struct EvaluationText {
  EvaluationSpec spec;
  eval::TokenisedText text;
  std::string data_hash;  ///< SHA-256 of the file
};

/// Reads and tokenises the texts of all `[[evaluate]]`, whose files have these hashes. Collective.
std::vector<EvaluationText> evaluation_texts(const comm::Communicator& communicator, const ExperimentSpec& spec,
                                             const ModelAccess& model, const std::vector<std::string>& data_hashes);

/// Numbers that go into the record together.
struct Measured {
  std::vector<Metric> metrics;
  std::vector<storage::EvaluationRecord> evaluations;
};

/// Adds an evaluation: `eval/perplexity` and the metrics that belong to it, and the loss of each window.
void add(Measured& measured, const eval::Evaluation& evaluation, const EvaluationText& text, Index stage, Index step);

/// Adds a comparison with the model as it is: `divergence/kl` and what belongs to it, and the KL of each window, under a protocol
/// of its own.
void add(Measured& measured, const eval::Divergence& divergence, const EvaluationText& text, Index stage, Index step);

/// The evaluation of a model of known content on one text: from STORE/cache/evaluations, else done and kept there.
/// The key holds all that determines the numbers. Collective.
eval::Evaluation cached_evaluation(const comm::Communicator& communicator, const std::string& store_path,
                                   const std::string& model_key, const model::Transformer& model,
                                   const EvaluationText& text, model::Precision precision, const std::string& what);

}  // namespace kronlab::experiments
