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

/// Speeds for the next group of layers, from what the ranks did with the last one: estimated cost and seconds of each. Who had
/// no work or less than `least_s` of it keeps its speed. A node that becomes slow gets less from the next group on.
std::vector<double> speeds_after(const std::vector<double>& before, const std::vector<double>& costs, const std::vector<double>& seconds,
                                 double least_s = 0.5);
/// The same with the seconds of this rank. Known to all. Collective.
std::vector<double> speeds_after(const comm::Communicator& communicator, const std::vector<double>& before, const std::vector<double>& costs,
                                 double own_seconds);

}  // namespace kronlab::experiments
