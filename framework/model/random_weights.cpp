#include "framework/model/random_weights.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace kronlab::model {
namespace {

constexpr double deviation = 0.02, position_deviation = 0.01;

bool writes_to_stream(const std::string& name) { return name.ends_with("c_proj.weight") || name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight"); }

}  // namespace

RandomWeights::RandomWeights(const ModelConfig& config, RandomStream random) : config_(config), random_(random) {
  for (const auto& [name, shape] : tensor_shapes(config)) {
    Index size = size_of(DType::f32);
    for (const Index extent : shape) size = checked_product(size, extent, name.c_str());
    infos_.push_back({name, shape, "F32", size});
  }
  std::ranges::sort(infos_, {}, &TensorInfo::name);
}

void RandomWeights::read(const std::string& name, TensorView to) const {
  const auto& found = info(name);
  Tensor values(DType::f32, found.shape);
  if (found.shape.size() > 1) {
    double scale = name == "wpe.weight" ? position_deviation : deviation;
    if (writes_to_stream(name)) scale /= std::sqrt(2.0 * static_cast<double>(config_.num_blocks));
    auto random = random_.child(name);
    for (float& value : values.values<float>()) value = static_cast<float>(scale * random.normal());
  } else if (name.ends_with(".weight")) {
    std::ranges::fill(values.values<float>(), 1.0f);
  }
  convert(std::as_const(values).view(), to);
}

}  // namespace kronlab::model
