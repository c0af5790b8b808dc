#pragma once

namespace kronlab::testing {

/// Bytes that this process has received by MPI since reset_mpi_traffic(), by the convention of experiments' scale_estimate.hpp:
/// what was sent to it point to point, a broadcast's bytes unless it is the root, of a sum over ranks its share of a ring's
/// traffic, of an all-gather what the others gave. A program that links this counts in the profiling interface of MPI.
double received_mpi_bytes();
void reset_mpi_traffic();

}  // namespace kronlab::testing
