#pragma once

#include <string>

#include "slurm/submission.hpp"

namespace kronlab::slurm {

/// The scripts of a submission, whole as sbatch takes them: what is asked of Slurm, the submission's own values, and then
/// job.sh or table.sh.
std::string job_script(const Submission& submission);
std::string table_script(const Submission& submission);

/// A line for each task: its cells between commas.
std::string cells_text(const Submission& submission);
/// The same with the runs' labels, between tabs: for people.
std::string labels_text(const Submission& submission);

}  // namespace kronlab::slurm
