#include "framework/tensor/scratch.hpp"

#include <algorithm>
#include <vector>

namespace kronlab {
namespace {

/// Blocks that nobody uses, of f64, which any other type fits into.
std::vector<Tensor>& free_blocks() {
  static thread_local std::vector<Tensor> blocks;
  return blocks;
}

/// The smallest block that is large enough; where none is, a new one in place of the largest.
Tensor take_block(Index size) {
  auto& blocks = free_blocks();
  std::ranges::sort(blocks, {}, &Tensor::size);
  auto chosen = std::ranges::find_if(blocks, [&](const Tensor& block) { return block.size() >= size; });
  if (chosen == blocks.end()) {
    if (!blocks.empty()) blocks.pop_back();
    return Tensor::uninitialised(DType::f64, {size});
  }
  Tensor block = std::move(*chosen);
  blocks.erase(chosen);
  return block;
}

}  // namespace

Scratch::Scratch(Index rows, Index cols, DType dtype) {
  const Index bytes = checked_product(checked_product(rows, cols, "scratch"), size_of(dtype), "scratch");
  memory_ = take_block(std::max<Index>(1, (bytes + 7) / 8));
  view_ = memory_.view();
  view_.dtype = dtype, view_.rows = rows, view_.cols = view_.stride = cols;
}

Scratch::~Scratch() {
  if (!memory_.is_empty()) free_blocks().push_back(std::move(memory_));
}

}  // namespace kronlab
