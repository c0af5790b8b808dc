#include "framework/tensor/tensor_source.hpp"

#include <algorithm>

#include "framework/base/nearest.hpp"

namespace kronlab {

const TensorInfo* TensorSource::find(const std::string& name) const {
  const auto& all = tensors();
  const auto found = std::ranges::lower_bound(all, name, {}, &TensorInfo::name);
  return found != all.end() && found->name == name ? &*found : nullptr;
}

const TensorInfo& TensorSource::info(const std::string& name) const {
  if (const auto* found = find(name)) return *found;
  const auto& all = tensors();
  std::vector<std::string> names;
  for (const auto& tensor : all) names.push_back(tensor.name);
  const std::string examples = all.empty() ? "none" : all.size() == 1 ? names.front() : names.front() + ", ..., " + names.back();
  throw DataError(fmt::format("model has no tensor '{}'{} (it has {}: {})", name, did_you_mean(name, names), all.size(), examples));
}

Tensor TensorSource::load(const std::string& name, DType dtype) const {
  Tensor result = Tensor::uninitialised(dtype, info(name).shape);
  read(name, result.view());
  return result;
}

}  // namespace kronlab
