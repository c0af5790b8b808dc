#pragma once

#include <string>

#include "framework/comm/communicator.hpp"

namespace kronlab::comm {

/// The name of this rank's host.
std::string host_name();

/// What the MPI library calls itself, in one line.
std::string mpi_library();

/// Whether more threads than cores are meant (tests do so), or a mistake.
enum class Oversubscription { refused, allowed };

/// Threads for each rank: OMP_NUM_THREADS where it is set, else the cores that the rank may use, shared evenly among
/// the ranks of its host that may use the same ones. Collective.
/// @throws CollectiveError with advice if ranks x threads of a host exceed the cores that they may use, unless allowed
int threads_per_rank(const Communicator& world, Oversubscription oversubscription);

}  // namespace kronlab::comm
