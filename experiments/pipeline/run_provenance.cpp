#include "experiments/pipeline/run_provenance.hpp"

#include "framework/comm/machine.hpp"
#include "framework/linalg/libraries.hpp"
#include "framework/storage/provenance.hpp"

namespace kronlab::experiments {

storage::NamedTexts run_provenance(const comm::Communicator& communicator, const std::vector<std::string>& command_line,
                                   int threads) {
  storage::ExecutionFacts facts;
  facts.command_line = command_line;
  facts.rank_hosts = communicator.all_gather(comm::host_name());
  facts.threads_per_rank = threads;
  facts.mpi_library = comm::mpi_library();
  facts.blas = linalg::blas_library();
  facts.more.emplace_back("library.onednn", linalg::onednn_library());
  return storage::provenance(facts);
}

}  // namespace kronlab::experiments
