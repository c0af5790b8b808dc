#pragma once

#include <cstdint>

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// Which entries of a matrix are there, row by row; their values lie one behind the other in that sequence. Not owned.
struct SparseRows {
  const std::uint8_t* mask = nullptr;  ///< [rows, mask_bytes(cols)]: bit c % 8 of byte c / 8 of its row; 0 beyond the last column
  const Index* row_starts = nullptr;   ///< [rows + 1]: where a row's values begin
  Index rows = 0;
  Index cols = 0;

  static Index mask_bytes(Index cols) { return (cols + 7) / 8; }
  Index end() const { return row_starts[rows]; }  ///< behind the place of the last value
  SparseRows block(Index first_row, Index num_rows) const {
    return {mask + first_row * mask_bytes(cols), row_starts + first_row, num_rows, cols};
  }
};

// Values are [1, at least end()], f32, or f64 beside f64 activations. Every element of a result is one sum in the sequence of the
// columns, by one thread: bit-equal for any number of threads.

/// y = x W^T, or y += that, without forming W.  x: [n, cols] f32 or bf16, y: [n, rows] of that type, or f32 for bf16
void sparse_product(const SparseRows& w, ConstTensorView values, ConstTensorView x, TensorView y, bool add);

/// Rows first_row, first_row + 1, ... of W with its zeros.  out: [any number, cols] f32, f64 or bf16
void expand_rows(const SparseRows& w, ConstTensorView values, Index first_row, TensorView out);

/// sums[p] += dense[i, c] for the value p at row first_row + i and column c.  dense: [any number, cols]; sums: [1, at least end()];
/// each f32 or f64
void add_kept(const SparseRows& w, Index first_row, ConstTensorView dense, TensorView sums);

}  // namespace kronlab::kernels
