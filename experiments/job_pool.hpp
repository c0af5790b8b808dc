#pragma once

#include <string>
#include <vector>

#include "experiments/ended_run.hpp"

namespace kronlab::experiments {

/// Does a sweep by `arguments.jobs` processes of this program on this machine, which share it by claims, as jobs of a cluster
/// do: each of one rank, with its share of the cores (OMP_NUM_THREADS where that is set). Their words come with the job's
/// number before them; signals are handed on; they end with this process.
/// @return the runs of the sweep, as the job that did or tried each tells; those that no job came to are missing
/// @pre this process is the only rank
/// @throws ConfigError if it was started by mpirun or srun, StorageError if no process can be made
std::vector<EndedRun> run_by_jobs(const RunArguments& arguments, std::size_t num_runs);

}  // namespace kronlab::experiments
