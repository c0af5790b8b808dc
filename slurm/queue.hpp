#pragma once

#include <map>
#include <string>

namespace kronlab::slurm {

/// Comments of our jobs start with this; the folder of their submission follows.
inline constexpr const char* comment_prefix = "kronlab:";

/// Cells of a store that wait or run in the user's queue, each with its job: "17_3 (PENDING)". Each submission's file `cells`
/// says what its tasks do.
/// @throws StorageError if squeue is not there or fails, or a submission's file cannot be read
std::map<std::string, std::string> queued_cells(const std::string& store);

/// The same from squeue's lines "ARRAY_JOB|TASK|STATE|COMMENT".
std::map<std::string, std::string> cells_of_queue(const std::string& lines, const std::string& store);

}  // namespace kronlab::slurm
