#pragma once

#include <functional>
#include <span>
#include <vector>

namespace kronlab::experiments {

/// Median seconds of each of these pieces of work, done in turn, one a round, so that what disturbs the machine meets
/// all alike. A first round is not counted; then at least three, until all of it took `budget_s`.
std::vector<double> median_seconds(std::span<const std::function<void()>> work, double budget_s);

}  // namespace kronlab::experiments
