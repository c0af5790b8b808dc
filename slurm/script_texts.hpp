#pragma once

namespace kronlab::slurm {

// slurm/job.sh and slurm/table.sh; part of the program.
extern const char* const job_text;
extern const char* const table_text;

}  // namespace kronlab::slurm
