#pragma once

#include <string>

#include "experiments/pipeline/machine_rates.hpp"
#include "framework/comm/communicator.hpp"

namespace kronlab::experiments {

/// Measures the rates of this machine in about ten seconds, all ranks at the same time, so that what they share (memory,
/// network, disk) is measured shared: medians over repeats, means over ranks. Ranks of one thread are timed by their
/// processor. Between fewer than two ranks there is no network: its rates stay as MachineRates has them. `folder` takes a
/// file of 32 MiB from each rank for a moment; `threads` is the number of each rank. Collective.
/// @throws CollectiveError if there is no such folder, or it cannot be written
MachineRates measure_rates(const comm::Communicator& communicator, const std::string& folder, int threads);

/// 1e9 operations of linalg::gram on tokens x cols: half of the square, by tiles.
double gram_gflop(Index tokens, Index cols);

}  // namespace kronlab::experiments
