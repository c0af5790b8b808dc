#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "framework/base/types.hpp"
#include "tests/storage/bytes.hpp"

namespace kronlab::testing {

/// A safetensors file of this header and data, right or wrong.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  return bytes_of<std::uint64_t>(header.size()) + header + data;
}

/// A float32 tensor whose element k has the value `first + k`.
struct CountingTensor {
  std::string name;
  std::vector<Index> shape;
  float first = 0.0f;
};

/// A right file of such tensors.
inline std::string counting_safetensors(const std::vector<CountingTensor>& tensors) {
  std::string header = "{", data;
  for (const auto& tensor : tensors) {
    Index size = 1;
    for (const Index extent : tensor.shape) size *= extent;
    const std::size_t begin = data.size();
    for (Index k = 0; k < size; ++k) data += bytes_of(tensor.first + static_cast<float>(k));
    header += fmt::format(R"({}"{}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})",
                          header.size() > 1 ? "," : "", tensor.name, fmt::join(tensor.shape, ","), begin, data.size());
  }
  return safetensors_bytes(header + "}", data);
}

}  // namespace kronlab::testing
