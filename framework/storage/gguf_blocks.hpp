#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "framework/tensor/tensor.hpp"

namespace kronlab::storage {

/// A GGML tensor type: how many elements share a block and how many bytes it takes.
struct BlockType {
  std::uint32_t number = 0;  ///< as in the file
  std::string_view name;
  Index elements = 1;
  Index bytes = 0;
};

/// Null for a type that cannot be read; `block_type_name` still names it.
const BlockType* block_type(std::uint32_t number);
std::string_view block_type_name(std::uint32_t number);

/// One row of blocks to float32. @pre bytes fits type and count
void dequantise(const BlockType& type, const std::byte* blocks, Index count, float* out);

}  // namespace kronlab::storage
