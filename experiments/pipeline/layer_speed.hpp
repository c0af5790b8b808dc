#pragma once

#include <span>
#include <vector>

#include "framework/linalg/linear_operator.hpp"
#include "framework/model/transformer.hpp"

namespace kronlab::experiments {

/// Median seconds of y = x W^T for each of these operators, with `tokens` rows of x in the activation type of
/// `precision`.
///
/// They are measured in turn, one product each a round: what disturbs the machine meets all alike, and where all of
/// them together are larger than the caches, the weights of each come from memory, as in a model. Rounds as
/// median_seconds has them.
/// @pre tokens > 0
std::vector<double> apply_seconds(std::span<const linalg::LinearOperator* const> operators, Index tokens,
                                  model::Precision precision, double budget_s);

/// The same for one operator alone, whose weights stay in the caches if they fit.
double apply_seconds(const linalg::LinearOperator& weight, Index tokens, model::Precision precision,
                     double budget_s = 0.02);

}  // namespace kronlab::experiments
