#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "framework/base/types.hpp"
#include "tests/storage/bytes.hpp"

namespace kronlab::testing {

/// Composes a GGUF file, right or wrong, from the format's public definition.
struct GgufWriter {
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> extents;  ///< as the file has them: fastest first
    std::uint32_t type = 0;
    std::uint64_t offset = 0;
  };
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::string metadata;
  std::uint64_t num_keys = 0;
  std::vector<Tensor> tensors;
  std::string data;
  std::size_t alignment = 32;

  static std::string text(const std::string& value) { return bytes_of<std::uint64_t>(value.size()) + value; }

  void raw(const std::string& key, std::uint32_t type, const std::string& value) {
    metadata += text(key) + bytes_of(type) + value;
    ++num_keys;
  }
  void integer(const std::string& key, std::uint32_t value) { raw(key, 4, bytes_of(value)); }
  void number(const std::string& key, float value) { raw(key, 6, bytes_of(value)); }
  void string(const std::string& key, const std::string& value) { raw(key, 8, text(value)); }
  void strings(const std::string& key, const std::vector<std::string>& values) {
    std::string all = bytes_of<std::uint32_t>(8) + bytes_of<std::uint64_t>(values.size());
    for (const auto& value : values) all += text(value);
    raw(key, 9, all);
  }
  void integers(const std::string& key, const std::vector<std::int32_t>& values) {
    std::string all = bytes_of<std::uint32_t>(5) + bytes_of<std::uint64_t>(values.size());
    for (const auto& value : values) all += bytes_of(value);
    raw(key, 9, all);
  }

  /// Adds a tensor of kronlab's shape (slowest extent first) with its bytes, aligned.
  void tensor(const std::string& name, const std::vector<Index>& shape, std::uint32_t type, const std::string& bytes) {
    data.resize((data.size() + alignment - 1) / alignment * alignment, '\0');
    tensors.push_back({name, {shape.rbegin(), shape.rend()}, type, data.size()});
    data += bytes;
  }
  void floats(const std::string& name, const std::vector<Index>& shape, const std::vector<float>& values) {
    std::string bytes;
    for (const float value : values) bytes += bytes_of(value);
    tensor(name, shape, 0, bytes);
  }

  std::string bytes() const {
    std::string file =
        magic + bytes_of(version) + bytes_of<std::uint64_t>(tensors.size()) + bytes_of(num_keys) + metadata;
    for (const auto& tensor : tensors) {
      file += text(tensor.name) + bytes_of<std::uint32_t>(static_cast<std::uint32_t>(tensor.extents.size()));
      for (const auto extent : tensor.extents) file += bytes_of(extent);
      file += bytes_of(tensor.type) + bytes_of(tensor.offset);
    }
    file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    return file + data;
  }
};

}  // namespace kronlab::testing
