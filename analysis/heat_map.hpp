#pragma once

#include <string>
#include <vector>

#include "analysis/gnuplot.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// A panel for each run: its layers, by block and kind, coloured by a number of each. `metric` is relative_error,
/// weighted_error, search_value or seconds of a layer's compression, else the name of a metric that has layers; the last
/// one of each layer counts. @throws ConfigError if no run has it, with what there is
Drawing heat_map(const std::vector<storage::RunReader>& runs, const std::string& metric, Medium medium);

}  // namespace kronlab::analysis
