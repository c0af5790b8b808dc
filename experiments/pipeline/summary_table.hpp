#pragma once

#include <string>
#include <vector>

namespace kronlab::experiments {

/// The table that a sweep ends with, as text: the dense model, then a row for each run: size, perplexity of each data
/// set under its protocol, speed beside the dense model's, mean errors of the layers, time; below it which model became
/// smaller and slower. @throws StorageError if a run cannot be read
std::string summary_table(const std::string& store_path, const std::vector<std::string>& run_ids);

}  // namespace kronlab::experiments
