#pragma once

#include <functional>
#include <optional>

#include "framework/linalg/linear_operator.hpp"

namespace kronlab::decompositions {

// Products with a weight that is stored in some other form: some rows of it at a time are written out in the type of the
// activations, in a buffer of the size of a cache, and multiplied as dense ones.

/// Writes rows first_row, first_row + 1, ... of the weight: [any number, in] f32, f64 or bf16.
using WriteRows = std::function<void(Index first_row, TensorView rows)>;
/// Reads those rows of the gradient in the weight: f32 or, of f64 activations, f64.
using ReadRows = std::function<void(Index first_row, ConstTensorView rows)>;

/// y = x W^T or y += that
void apply_by_panels(const WriteRows& weight, ConstTensorView x, TensorView y, linalg::Write write);
/// x = y W or x += that
void apply_adjoint_by_panels(const WriteRows& weight, ConstTensorView y, TensorView x, linalg::Write write);
/// dy^T x
void weight_gradient_by_panels(ConstTensorView x, ConstTensorView dy, const ReadRows& gradient);
/// out[i, :] = W[ids[i], :], neighbours together
void gather_by_panels(const WriteRows& weight, std::span<const std::int32_t> ids, TensorView out);

}  // namespace kronlab::decompositions
