#include "slurm/partition.hpp"

#include <algorithm>
#include <sstream>

#include "framework/base/error.hpp"
#include "slurm/command.hpp"
#include "slurm/slurm_units.hpp"

namespace kronlab::slurm {
namespace {

/// The field up to the next '|'; sinfo marks a number that is the least of several by '+'.
std::string next_field(std::istringstream& line) {
  std::string field;
  std::getline(line, field, '|');
  if (field.ends_with('+')) field.pop_back();
  return field;
}

Index number_of(const std::string& text) { return std::atoll(text.c_str()); }

std::vector<NodeKind> with_cores(const Partition& partition, Index cores) {
  std::vector<NodeKind> kinds = partition.kinds;
  std::erase_if(kinds, [&](const NodeKind& kind) { return kind.cores < cores; });
  return kinds;
}

}  // namespace

Partition parse_partition(const std::string& lines, const std::string& name) {
  Partition partition;
  std::istringstream in(lines);
  for (std::string text; std::getline(in, text);) {
    std::istringstream line(text);
    std::string found = next_field(line);
    const bool is_default = found.ends_with('*');
    if (is_default) found.pop_back();
    if (name.empty() ? !is_default : found != name) continue;
    partition.name = found;
    NodeKind kind;
    kind.cores = number_of(next_field(line)), kind.memory_mib = number_of(next_field(line));
    partition.time_limit_s = parse_time(next_field(line)).value_or(0);  // "infinite"
    kind.count = number_of(next_field(line));
    partition.kinds.push_back(kind);
  }
  if (partition.kinds.empty()) {
    throw ConfigError(name.empty() ? "Slurm has no default partition: give --partition"
                                   : fmt::format("Slurm has no partition '{}' with nodes: see sinfo", name));
  }
  return partition;
}

Partition partition_of(const Machine& machine) {
  const auto& given = machine.node;
  if (given.is_complete()) return {machine.partition, {{*given.cores, *given.memory_mib, 0}}, *given.time_limit_s};
  const auto output = run_command({"sinfo", "--noheader", "--exact", "--format=%P|%c|%m|%l|%D"});
  if (output.exit_code != 0) {
    throw StorageError(
        fmt::format("cannot ask Slurm for its nodes (sinfo ended with {}): {}; or say cores, memory and time_limit in [node] of the machine file",
                    output.exit_code, output.err));
  }
  Partition partition = parse_partition(output.out, machine.partition);
  for (auto& kind : partition.kinds) {
    kind.cores = given.cores.value_or(kind.cores), kind.memory_mib = given.memory_mib.value_or(kind.memory_mib);
  }
  partition.time_limit_s = given.time_limit_s.value_or(partition.time_limit_s);
  return partition;
}

void expect_fit(const Machine& machine, const Partition& partition, Index memory_mib, const std::string& largest_run) {
  const std::string place = partition.name.empty() ? "the partition" : fmt::format("partition '{}'", partition.name);
  const Index most_cores = std::ranges::max(partition.kinds, {}, &NodeKind::cores).cores;
  const std::string shape = fmt::format("{} rank(s) per node of {} thread(s)", machine.ranks_per_node(), machine.threads);
  if (machine.cores_per_node() > most_cores) {
    throw ConfigError(fmt::format("{} need {} cores, but a node of {} has {}: use more --nodes, fewer --ranks, or fewer --threads", shape,
                                  machine.cores_per_node(), place, most_cores));
  }
  const auto kinds = with_cores(partition, machine.cores_per_node());
  const Index most_memory = std::ranges::max(kinds, {}, &NodeKind::memory_mib).memory_mib;
  const Index needed = memory_mib * machine.ranks_per_node();
  if (needed > most_memory) {
    throw ConfigError(
        fmt::format("run '{}' needs {} per rank, {} for {}, but a node of {} with as many cores has {}: use more --nodes, or fewer --ranks (of more --threads)",
                    largest_run, memory_text(memory_mib), memory_text(needed), shape, place, memory_text(most_memory)));
  }
  if (machine.memory_mib && needed > *machine.memory_mib) {
    throw ConfigError(fmt::format("run '{}' needs {} per rank, {} for {}, but --memory (or `memory` of the machine file) is {}: give more", largest_run,
                                  memory_text(memory_mib), memory_text(needed), shape, memory_text(*machine.memory_mib)));
  }
  if (machine.memory_mib && *machine.memory_mib > most_memory) {
    throw ConfigError(fmt::format("--memory (or `memory` of the machine file) is {}, but a node of {} has {}: ask for less", memory_text(*machine.memory_mib),
                                  place, memory_text(most_memory)));
  }
  Index num_nodes = 0;
  bool is_known = true;
  for (const auto& kind : kinds) num_nodes += kind.count, is_known = is_known && kind.count > 0;
  if (is_known && machine.nodes > num_nodes)
    throw ConfigError(fmt::format("--nodes is {}, but {} has {} of enough cores: use fewer", machine.nodes, place, num_nodes));
  if (partition.time_limit_s > 0 && machine.time_s && *machine.time_s > partition.time_limit_s) {
    throw ConfigError(fmt::format(
        "--time (or `time` of the machine file) is {}, but {} allows {}: ask for no more; what takes longer is checkpointed and goes on in the next job",
        time_text(*machine.time_s), place, time_text(partition.time_limit_s)));
  }
}

}  // namespace kronlab::slurm
