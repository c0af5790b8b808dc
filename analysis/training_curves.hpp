#pragma once

#include <string>
#include <vector>

#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// A gnuplot script with a panel for each metric and a line for each run, over the steps of all its stages one after
/// another. @throws ConfigError if no run has any of them
std::string curves_script(const std::vector<storage::RunReader>& runs, const std::vector<std::string>& metrics);

}  // namespace kronlab::analysis
