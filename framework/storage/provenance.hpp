#pragma once

#include <string>
#include <vector>

#include "framework/storage/run_store.hpp"

namespace kronlab::storage {

/// What only the program knows of its own execution; storage calls neither MPI nor BLAS.
struct ExecutionFacts {
  std::vector<std::string> command_line;  ///< argv
  std::vector<std::string> rank_hosts;    ///< the host of each rank, in the order of ranks
  int threads_per_rank = 1;
  std::string mpi_library;  ///< MPI_Get_library_version
  std::string blas;         ///< openblas_get_config() and openblas_get_corename()
  NamedTexts more;          ///< {"seed", "0"}, {"model.sha256", ...}, {"library.onednn", ...}: shown as they are
};

/// Where a run comes from: sources (commit, changes), compiler and flags, libraries, CPU, ranks and threads, Slurm's
/// identifiers, the command line, and the environment variables that change what a run does (OMP_*, OPENBLAS_*,
/// KRONLAB_*, OMPI_MCA_*, SLURM_*, ...; none that holds a secret).
NamedTexts provenance(const ExecutionFacts& facts);

}  // namespace kronlab::storage
