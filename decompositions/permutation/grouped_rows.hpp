#pragma once

#include <functional>
#include <span>
#include <vector>

#include "decompositions/permutation/permutation_objective.hpp"

namespace kronlab::decompositions {

/// PermutationObjective::products_with_fit for a structure that each row of the reordered weight is given alone.
/// structure: makes a row, with its columns in order, what is nearest to it  weight: [out, in]
Matrix<float> products_with_rows(const Matrix<double>& weight, Axis axis, const Grouping& grouping,
                                 const std::function<void(std::span<double> row)>& structure);

/// |x|^2 of the rows or columns x of a weight.
std::vector<double> square_norms(const Matrix<double>& weight, Axis axis);

}  // namespace kronlab::decompositions
