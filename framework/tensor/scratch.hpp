#pragma once

#include <utility>

#include "framework/tensor/tensor.hpp"

namespace kronlab {

/// An activation buffer that lives as long as its operator and grows with the batch: [rows, cols], uninitialised.
inline TensorView resized(Tensor& scratch, Index rows, Index cols, DType dtype) {
  if (scratch.dtype() != dtype || scratch.size() < rows * cols) scratch = Tensor::uninitialised(dtype, {rows, cols});
  TensorView view = scratch.view();
  view.rows = rows, view.cols = cols, view.stride = cols;
  return view;
}

/// An uninitialised matrix on loan from a pool of the thread, for what an operator needs within one call: layers one
/// after another get the same memory. The pool keeps as many blocks as were ever on loan at once, each as large as
/// needed.
class Scratch {
 public:
  Scratch() = default;
  Scratch(Index rows, Index cols, DType dtype);
  Scratch(Scratch&& other) noexcept { *this = std::move(other); }
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(view_, other.view_);
    return *this;
  }
  ~Scratch();

  TensorView view() const { return view_; }

 private:
  Tensor memory_;
  TensorView view_;
};

}  // namespace kronlab
