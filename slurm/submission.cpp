#include "slurm/submission.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace kronlab::slurm {
namespace {

/// What any task may take besides its runs: a node that is slow to start, a model that is read from a busy disk.
constexpr Index start_s = 600;

/// MiB of a rank: programs and shared memory of MPI, of which a small run needs more than of anything else.
constexpr double least_mib = 500.0;

/// Of the nodes that a task fits on.
Index largest_memory(const Machine& machine, const Partition& partition) {
  Index most = 0;
  for (const auto& kind : partition.kinds) {
    if (kind.cores >= machine.cores_per_node()) most = std::max(most, kind.memory_mib);
  }
  return most;
}

double expected_seconds(const std::vector<PlannedRun>& runs) {
  double seconds = 0.0;
  for (const auto& run : runs) seconds += run.expected_seconds();
  return seconds;
}

}  // namespace

std::string Submission::job_name() const { return std::filesystem::path(folder).filename().string(); }

std::vector<std::vector<PlannedRun>> packs_of(const std::vector<PlannedRun>& runs, Index size) {
  std::vector<std::vector<PlannedRun>> packs;
  for (const auto& run : runs) {
    if (packs.empty() || static_cast<Index>(packs.back().size()) == size) packs.emplace_back();
    packs.back().push_back(run);
  }
  return packs;
}

double longest_task_seconds(const std::vector<std::vector<PlannedRun>>& tasks) {
  double longest = 0.0;
  for (const auto& runs : tasks) longest = std::max(longest, expected_seconds(runs));
  return longest;
}

Index time_for(const std::vector<std::vector<PlannedRun>>& tasks, const Machine& machine, const Partition& partition) {
  if (machine.time_s) return *machine.time_s;
  constexpr double most = 365.0 * 86400;
  const double wanted = std::min(most, longest_task_seconds(tasks) * machine.time_margin);
  const auto minutes = static_cast<Index>(std::ceil(wanted / 60)) + (machine.signal_s + start_s + 59) / 60;
  const Index seconds = minutes * 60;
  return partition.time_limit_s > 0 ? std::min(seconds, partition.time_limit_s) : seconds;
}

Index memory_for(const std::vector<PlannedRun>& runs, const Machine& machine, const Partition& partition) {
  if (machine.memory_mib) return *machine.memory_mib;
  const double wanted = std::max(least_mib, static_cast<double>(largest_run(runs).memory_mib) * machine.memory_margin);
  return std::min(static_cast<Index>(std::ceil(wanted)) * machine.ranks_per_node(), largest_memory(machine, partition));
}

LargestRun largest_run(const std::vector<PlannedRun>& runs) {
  LargestRun largest;
  for (const auto& run : runs) {
    const Index mib = (run.memory_bytes + (Index{1} << 20) - 1) >> 20;
    if (mib > largest.memory_mib) largest = {mib, run.label};
  }
  return largest;
}

std::string Cost::text() const {
  return fmt::format("{:.3g} node-hours ({:.3g} core-hours): {} of {} run(s) as finished ones of the same kind took, {} by the rates of the machine",
                     node_hours, core_hours, num_measured, num_runs, num_runs - num_measured);
}

Cost expected_cost(const std::vector<PlannedRun>& runs, const Machine& machine, const Partition& partition) {
  Cost cost;
  const auto cores = static_cast<double>(machine.ranks * machine.threads);
  Index of_node = 0;  // the smallest that a task fits on: the dearest
  for (const auto& kind : partition.kinds) {
    if (kind.cores >= machine.cores_per_node() && (of_node == 0 || kind.cores < of_node)) of_node = kind.cores;
  }
  for (const auto& run : runs) ++cost.num_runs, cost.num_measured += run.mean_seconds.has_value();
  cost.core_hours = expected_seconds(runs) * cores / 3600;
  cost.node_hours = of_node > 0 ? cost.core_hours / static_cast<double>(of_node) : 0.0;
  return cost;
}

}  // namespace kronlab::slurm
