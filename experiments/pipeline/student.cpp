#include "experiments/pipeline/student.hpp"

#include <set>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/stage_checkpoint.hpp"
#include "experiments/pipeline/training_checkpoint.hpp"
#include "framework/model/random_weights.hpp"
#include "framework/storage/safetensors.hpp"

namespace kronlab::experiments {

namespace fs = std::filesystem;

namespace {

std::set<std::string> names_in(const std::string& path) {
  std::set<std::string> names;
  const storage::SafetensorsFile file(path);
  for (const auto& tensor : file.tensors()) names.insert(tensor.name);
  return names;
}

/// A layer `a.b` is among the names of tensors if any of its numbers `a.b.NAME` is.
bool is_among(const std::set<std::string>& names, const std::string& layer_or_tensor) {
  if (names.contains(layer_or_tensor)) return true;
  const auto next = names.lower_bound(layer_or_tensor + ".");
  return next != names.end() && next->starts_with(layer_or_tensor + ".");
}

}  // namespace

model::Transformer dense_student(const ExperimentSpec& spec, const model::Transformer& model) {
  if (spec.student.init == StudentSpec::Init::random) {
    const auto config = student_config(spec, model.config());
    return model::Transformer::load(config, model::RandomWeights(config, RandomStream(spec.seed).child("student")));
  }
  auto student = model.share();
  if (spec.model.head == ModelSpec::Head::untied) student.untie_head();
  return spec.student.blocks.empty() ? std::move(student) : student.with_blocks(spec.student.blocks);
}

model::Transformer dense_student(const ExperimentSpec& spec, const ModelAccess& access) {
  if (spec.student.init == StudentSpec::Init::model) return dense_student(spec, access.open());
  const auto config = student_config(spec, access.config());  // its model may have no weights
  return model::Transformer::load(config, model::RandomWeights(config, RandomStream(spec.seed).child("student")));
}

void install(model::Transformer& student, const Factors& factors) {
  for (auto& [layer, weight] : operators_of(factors)) student.replace_layer(layer, weight);
}

Factors factors_of(const model::Transformer& student) {
  Factors factors;
  for (const auto& shape : student.layers()) {
    const auto* factorization = dynamic_cast<const decompositions::Factorization*>(student.layer(shape.name).get());
    if (factorization) factors[shape.name] = factorization->parts();
  }
  return factors;
}

void install_values(model::Transformer& student, const std::string& path) {
  const auto names = names_in(path);
  const model::Parameters parameters(student, [&](const std::string& name) { return is_among(names, name); });
  std::size_t num_known = 0;
  for (const auto& tensor : parameters.tensors()) num_known += names.contains(tensor.name);
  if (num_known < names.size()) throw DataError(fmt::format("'{}' holds {} tensors, the student has only {} of them", path, names.size(), num_known));
  read_values(path, parameters);
}

void write_changed(model::Transformer& student, const std::vector<std::string>& changed, const std::vector<fs::path>& earlier, const std::string& path) {
  std::set<std::string> names;
  for (const auto& file : earlier) {
    if (fs::exists(file)) names.merge(names_in(file.string()));
  }
  const std::set<std::string> now(changed.begin(), changed.end());
  if (now.empty() && names.empty()) return;
  write_values(path, model::Parameters(student, [&](const std::string& name) { return now.contains(name) || is_among(names, name); }));
}

void install_compressed(model::Transformer& student, const fs::path& run_folder, std::size_t stage) {
  install(student, read_factors(factors_path(run_folder, stage).string()));
  if (fs::exists(moved_path(run_folder, stage))) install_values(student, moved_path(run_folder, stage).string());
}

void install_stage(model::Transformer& student, const fs::path& run_folder, std::size_t stage) {
  install(student, read_factors(factors_path(run_folder, stage).string()));
  if (fs::exists(values_path(run_folder, stage))) install_values(student, values_path(run_folder, stage).string());
}

model::Transformer finished_student(const ExperimentSpec& spec, const ModelAccess& access, const fs::path& run_folder) {
  const std::size_t num_stages = num_finished_stages(run_folder);
  if (num_stages == 0) throw ConfigError(fmt::format("run '{}' has no finished stage", run_folder.filename().string()));
  auto student = dense_student(spec, access);
  install_stage(student, run_folder, num_stages - 1);
  return student;
}

}  // namespace kronlab::experiments
