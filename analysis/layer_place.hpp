#pragma once

#include <string>

#include "framework/base/types.hpp"

namespace kronlab::analysis {

/// Where a layer is in its model, from its name: "layers.3.mlp.up_proj" is "mlp.up_proj" of block 3, "layers.3" all of it ("block").
struct LayerPlace {
  Index block = -1;  ///< -1: of no block, such as "wte"
  std::string kind;
};
LayerPlace place_of_layer(const std::string& name);

}  // namespace kronlab::analysis
