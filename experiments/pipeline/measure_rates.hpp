#pragma once

#include <string>

#include "experiments/pipeline/machine_rates.hpp"
#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// Measures the rates of this machine in about ten seconds, all ranks at the same time, so that what they share (memory,
/// network, disk) is measured shared: medians over repeats, means over ranks. Ranks of one thread are timed by their processor. Between fewer than two ranks there is no
/// network: its rates stay as MachineRates has them. `folder` takes two files for a moment, of 64 MiB together with each
/// rank's; `threads` is the number of each rank. Collective.
/// @throws CollectiveError if the folder cannot be written
MachineRates measure_rates(const comm::Communicator& communicator, const std::string& folder, int threads);

/// 1e9 operations of linalg::gram on tokens x cols: half of the square, by tiles.
double gram_gflop(Index tokens, Index cols);

}  // namespace kronlab::experiments
