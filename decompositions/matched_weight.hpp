#pragma once

#include "decompositions/decomposer.hpp"

namespace kronlab::decompositions {

/// The weight whose outputs on a layer's inputs X are nearest, in the mean square, to those of `weight` on its former
/// inputs X': (W X'^T X + d W) (X^T X + d)^-1, with d the damping times the mean diagonal of X^T X. What errors earlier
/// layers have made, as far as a linear map of the inputs can, is undone before the layer is compressed; along directions
/// in which inputs hardly vary the damping keeps the weight.
/// weight: [out, in]
/// @pre the statistics have input moments and reference moments, [in, in]
/// @throws DataError for moments that are no numbers or not positive even with the damping
Tensor matched_weight(ConstTensorView weight, const LayerStatistics& statistics, double damping);

}  // namespace kronlab::decompositions
