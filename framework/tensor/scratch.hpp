#pragma once

#include "framework/tensor/tensor.hpp"

namespace kronlab {

/// An activation buffer that lives as long as its operator and grows with the batch: [rows, cols], uninitialised.
inline TensorView resized(Tensor& scratch, Index rows, Index cols, DType dtype) {
  if (scratch.dtype() != dtype || scratch.size() < rows * cols) scratch = Tensor::uninitialised(dtype, {rows, cols});
  TensorView view = scratch.view();
  view.rows = rows, view.cols = cols, view.stride = cols;
  return view;
}

}  // namespace kronlab
