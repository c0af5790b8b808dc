#pragma once

#include <filesystem>
#include <vector>

#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// All metrics of runs, in the sequence of recording, one at a time: CSV or JSON by the extension. Numbers read back the
/// same; what is not finite is nan, inf or -inf (in JSON a text), a standard error that is not there an empty cell (null).
/// @return how many. @throws ConfigError for another extension, StorageError if it cannot be written
Index write_metrics_file(const std::vector<storage::RunReader>& runs, const std::filesystem::path& path);

}  // namespace kronlab::analysis
