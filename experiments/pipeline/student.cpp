#include "experiments/pipeline/student.hpp"

namespace kronlab::experiments {

model::Transformer dense_student(const ExperimentSpec& spec, const ModelAccess& access) {
  auto model = access.load();
  if (spec.model.head == ModelSpec::Head::untied) model.untie_head();
  return spec.student_blocks.empty() ? std::move(model) : model.with_blocks(spec.student_blocks);
}

void install(model::Transformer& student, const Factors& factors) {
  for (auto& [layer, weight] : operators_of(factors)) student.replace_layer(layer, weight);
}

}  // namespace kronlab::experiments
