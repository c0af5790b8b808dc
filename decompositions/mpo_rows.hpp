#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decompositions/mpo_contraction.hpp"

namespace kronlab::decompositions {

// Single rows of a matrix-product operator, from the left: rows with the same leading indices share the products of those
// cores. Cores and their gradients are [left, rows cols right], f32 or f64, all of one type, and contiguous.

/// out[t, :] = row ids[t].  out: f32, f64 or bf16
void gather_mpo_rows(std::span<const CoreShape> shapes, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids,
                     TensorView out);

/// gradients[k] += dL/dcore k for out = gather_mpo_rows(ids).  dy: of the cores' type
/// gradients[k]: [left rows cols, right]
void add_mpo_row_gradients(std::span<const CoreShape> shapes, std::span<const ConstTensorView> cores, std::span<const std::int32_t> ids,
                           ConstTensorView dy, std::span<const TensorView> gradients);

}  // namespace kronlab::decompositions
