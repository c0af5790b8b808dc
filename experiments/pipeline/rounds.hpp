#pragma once

#include <functional>
#include <span>
#include <vector>

namespace kronlab::experiments {

/// The larger of the two in the middle where their number is even. @pre not empty
double median(std::vector<double> values);

/// Median seconds of each of these pieces of work, done in turn, one a round, so that what disturbs the machine meets
/// all alike. A first round is not counted; then three, and up to fifteen while all of it has taken less than
/// `budget_s`.
std::vector<double> median_seconds(std::span<const std::function<void()>> work, double budget_s);

}  // namespace kronlab::experiments
