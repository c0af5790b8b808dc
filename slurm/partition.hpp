#pragma once

#include <string>
#include <vector>

#include "slurm/machine.hpp"

namespace kronlab::slurm {

/// Nodes of one kind, of a partition.
struct NodeKind {
  Index cores = 0;
  Index memory_mib = 0;
  Index count = 0;  ///< 0: unknown
};

/// What a job may have.
struct Partition {
  std::string name;
  std::vector<NodeKind> kinds;
  Index time_limit_s = 0;  ///< 0: none
};

/// The machine's partition: what its file says of its nodes, the rest by sinfo.
/// @throws StorageError if sinfo is wanted and is not there or fails; ConfigError if there is no such partition
Partition partition_of(const Machine& machine);

/// The same from sinfo's lines "PARTITION|CORES|MEMORY|TIMELIMIT|NODES", the default partition's name with a star;
/// an empty name is that one.
Partition parse_partition(const std::string& lines, const std::string& name);

/// Whether tasks of the machine's shape can run there, each rank with `memory_mib`.
/// @throws ConfigError that says what is too much and what to change
void expect_fit(const Machine& machine, const Partition& partition, Index memory_mib, const std::string& largest_run);

}  // namespace kronlab::slurm
