#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/base/types.hpp"

namespace kronlab::storage {

// What the record needs to know of Slurm, asked of its programs; all of it works where there is no Slurm.

/// The job that this process belongs to; empty without one.
std::string slurm_job();
/// How often Slurm has started this job before: it grows with every requeue, so that an incarnation can be told from those
/// that it replaces, which may still run where a node lost its connection only.
Index slurm_restart();

/// Whether a job has ended: `squeue` knows it no more. Where squeue cannot be asked, it has not.
bool slurm_job_is_gone(const std::string& job);

/// A job, or a task of an array, that waits or runs.
struct QueuedJob {
  std::string id;          ///< SLURM_JOB_ID of its processes
  std::string name;        ///< for people: "17_3"
  std::string state;       ///< "PENDING", "RUNNING", ...
  std::string reason;      ///< why it waits
  std::string nodes;       ///< that it runs on
  std::string excluded;    ///< nodes that it must not run on
  std::string time_left;   ///< until its limit: "1:23:45"
  std::vector<std::string> cells;   ///< that it works on, if a submission of a sweep says so
  std::vector<std::string> labels;  ///< of their runs, or none
};
/// This user's; nothing where squeue is not there or fails.
std::optional<std::vector<QueuedJob>> slurm_queue();
/// The same from squeue's lines in `squeue_format`.
std::vector<QueuedJob> queued_jobs(const std::string& lines);
inline constexpr const char* squeue_format = "%A|%F|%K|%T|%r|%N|%x|%L|%k";

/// Comments of a sweep's jobs start with this; the folder of their submission follows, in whose file `cells` line N has the
/// cells of task N, between commas, and in `labels` the labels of their runs, between tabs.
inline constexpr const char* slurm_comment_prefix = "kronlab:";

/// How a job ended, as accounting knows: "NODE_FAIL on node[1-2]", "OUT_OF_MEMORY, exit code 0:125"; empty where there is
/// no accounting, or it does not know the job.
std::string slurm_end_of(const std::string& job);

}  // namespace kronlab::storage
