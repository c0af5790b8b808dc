#pragma once

#include <string>
#include <vector>

#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// A gnuplot script with a line for each run: the relative error that its permutation searches had reached, in the norm
/// that they saw, mean over its layers, over the candidate moves of a layer. @throws ConfigError if no run has searches
std::string search_curves_script(const std::vector<storage::RunReader>& runs);

}  // namespace kronlab::analysis
