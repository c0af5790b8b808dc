#pragma once

#include <vector>

#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// How fast each rank computes, as a share of the median: all ranks time the same products at the same time, for about a tenth
/// of a second, and the best time of each counts, so that a passing disturbance does not. Known to all. Collective.
std::vector<double> rank_speeds(const comm::Communicator& communicator);

/// Speeds from the ranks' times: 1 for what is within a quarter of the median, so that equal nodes stay equal whatever the
/// clock says, else in steps of 1/8, from 1/8 to 8.
std::vector<double> speeds_from(std::vector<double> seconds);

}  // namespace kronlab::experiments
