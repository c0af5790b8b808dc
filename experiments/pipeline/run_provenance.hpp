#pragma once

#include <string>
#include <vector>

#include "framework/comm/communicator.hpp"
#include "framework/storage/run_store.hpp"

namespace kronlab::experiments {

/// Where a run comes from: sources, build, libraries, machine, ranks, command line. Collective.
storage::NamedTexts run_provenance(const comm::Communicator& communicator, const std::vector<std::string>& command_line,
                                   int threads);

}  // namespace kronlab::experiments
