#pragma once

#include <vector>

#include "analysis/gnuplot.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// A line for each run: the relative error that its permutation searches had reached, in the norm
/// that they saw, mean over its layers, over the candidate moves of a layer. @throws ConfigError if no run has searches
Drawing search_curves(const std::vector<storage::RunReader>& runs, Medium medium);

}  // namespace kronlab::analysis
