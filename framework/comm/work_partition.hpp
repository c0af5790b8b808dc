#pragma once

#include <span>
#include <vector>

namespace kronlab::comm {

/// Owner of each item on ranks that differ in speed: as WorkPartition, which is this for equal speeds, with costs divided by the
/// speed of the rank. @throws ContractError if there is no rank, or a speed is not positive
std::vector<int> partition_by_speed(std::span<const double> costs, std::span<const double> speeds);

}  // namespace kronlab::comm
