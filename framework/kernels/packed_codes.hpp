#pragma once

#include <cstdint>

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// A matrix of small integers with scales: W[i, c] = scales[i, g] (code[i, c] - zeros[i, g]), g = c / group. Not owned.
///
/// The rows are packed as `pack_row` lays them out, an order that suits this machine's registers and is no file format.
struct PackedCodes {
  Index bits = 8;  ///< of a code: 8, 4, 3 or 2
  Index rows = 0;
  Index cols = 0;
  Index group = 0;                       ///< columns of a group, the last may be shorter; at least 1
  const std::uint32_t* codes = nullptr;  ///< [rows, packed_row_words(bits, cols)]
  const std::uint8_t* zeros = nullptr;   ///< [rows, num_groups()]
  ConstTensorView scales;                ///< [rows, num_groups()] f32 or f64

  Index num_groups() const { return (cols + group - 1) / group; }
};

Index packed_row_words(Index bits, Index cols);
/// codes: [cols], each below 2^bits; packed: [packed_row_words(bits, cols)]
void pack_row(Index bits, const std::uint8_t* codes, Index cols, std::uint32_t* packed);
void unpack_row(Index bits, const std::uint32_t* packed, Index cols, std::uint8_t* codes);

/// Rows first_row, first_row + 1, ... of W.  out: [any number, cols] f32, f64 or bf16
void dequantise_rows(const PackedCodes& w, Index first_row, TensorView out);

/// y = x W^T, or y += that, from the packed codes: for a few rows of x, where reading W is what takes time.
/// x: [n, cols] f32 or bf16, y: [n, rows] of that type, or f32 for bf16. W is rounded to float32. Every element is one sum
/// by one thread: bit-equal for any number of threads.
void packed_product(const PackedCodes& w, ConstTensorView x, TensorView y, bool add);

/// d_scales[i, g] += Σ_c dense[i, c] (code[i, c] - zeros[i, g]) over the columns of group g, for i = first_row, ...; sums in
/// double.  dense: [any number, cols] f32 or f64, the gradient in those rows; d_scales: [rows, num_groups()] f32 or f64
void add_scale_gradient(const PackedCodes& w, Index first_row, ConstTensorView dense, TensorView d_scales);

}  // namespace kronlab::kernels
