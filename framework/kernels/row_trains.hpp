#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// A tensor train for every row of a table: row v, as a tensor [d_0, d_1, ...], is G_0 G_1 ... with cores
/// G_k: [r_k, d_k, r_(k+1)] of its own.
struct RowTrainShape {
  std::vector<Index> extents;  ///< d_k
  std::vector<Index> bonds;    ///< r_k, with the outer ones: one more, the first and the last 1
  Index cols() const;
  Index core_size(std::size_t k) const { return bonds[k] * extents[k] * bonds[k + 1]; }
};

// Cores of all rows: [vocabulary, r_k d_k r_(k+1)] for each k, f32 or f64, of one type.

/// out[t, :] = row ids[t], computed in double for f64, else in float32.  out: [ids.size(), cols], f32, f64 or bf16
void expand_row_trains(const RowTrainShape& shape, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids, TensorView out);

/// d_cores[k] += dL/dcores[k] for out = expand_row_trains(ids), of repeated ids in their sequence: bit-equal for any number
/// of threads.  dy: [ids.size(), cols] f32 or f64; d_cores of dy's type
void add_row_train_gradients(const RowTrainShape& shape, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids,
                             ConstTensorView dy, std::span<const TensorView> d_cores);

}  // namespace kronlab::kernels
