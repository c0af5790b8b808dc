#include "experiments/pipeline/run_identity.hpp"

#include "framework/base/hash.hpp"

namespace kronlab::experiments {
namespace {

/// Changes with the program where a change makes the same configuration give other numbers.
constexpr int results_version = 1;

}  // namespace

InputHashes input_hashes(const ExperimentSpec& spec, const std::string& model_hash, const std::function<std::string(const std::string& path)>& hash_of) {
  InputHashes hashes;
  hashes.model = model_hash;
  if (!spec.student.config.empty()) hashes.student_config = hash_of(spec.student.config);
  if (spec.calibration) {
    for (const auto& path : spec.calibration->text.paths) hashes.calibration.push_back(hash_of(path));
  }
  if (spec.training_text) {
    for (const auto& path : spec.training_text->paths) hashes.distillation.push_back(hash_of(path));
  }
  for (const auto& evaluation : spec.evaluations) hashes.evaluation.push_back(hash_of(evaluation.path));
  for (const auto& stage : spec.stages) {
    hashes.sensitivity.push_back(stage.sensitivity ? hash_of(stage.sensitivity->text.paths.front()) : "");
  }
  return hashes;
}

std::string cell_of(const ExperimentSpec& spec, const InputHashes& hashes) {
  std::string identity =
      fmt::format("results {}\n{}\nmodel {}\n", results_version, identity_of(spec.resolved), hashes.model);
  for (const auto& hash : hashes.calibration) identity += fmt::format("calibration {}\n", hash);
  for (const auto& hash : hashes.distillation) identity += fmt::format("distillation {}\n", hash);
  if (!hashes.student_config.empty()) identity += fmt::format("student {}\n", hashes.student_config);
  for (const auto& hash : hashes.evaluation) identity += fmt::format("evaluation {}\n", hash);
  for (const auto& hash : hashes.sensitivity) identity += hash.empty() ? "" : fmt::format("sensitivity {}\n", hash);
  return sha256(identity);
}

std::string dense_key(const ExperimentSpec& spec, const InputHashes& hashes) {
  if (spec.student.init == StudentSpec::Init::random) {  // the model gives the tokenizer, and the shape unless another is named
    return fmt::format("random {} {} seed {} head {}", hashes.model, hashes.student_config, spec.seed, static_cast<int>(spec.model.head));
  }
  return fmt::format("{} blocks [{}]", hashes.model, fmt::join(spec.student.blocks, ","));
}

std::string statistics_key(const ExperimentSpec& spec, const InputHashes& hashes) {
  const auto& text = spec.calibration->text;
  return sha256(fmt::format("statistics 1\n{}\n{}\n{}\n{}\n{}\n", dense_key(spec, hashes),
                            fmt::join(hashes.calibration, ","), text.tokens, text.window,
                            model::to_string(spec.precision)));
}

std::string CellHasher::cell_of(const ExperimentSpec& spec, const storage::ModelFiles& model) {
  std::string& model_hash = hashes_["model " + model.path()];
  if (model_hash.empty()) model_hash = model.hash();
  return experiments::cell_of(spec, input_hashes(spec, model_hash, [&](const std::string& path) {
                                std::string& hash = hashes_[path];
                                return hash.empty() ? hash = sha256_of_file(path) : hash;
                              }));
}

}  // namespace kronlab::experiments
