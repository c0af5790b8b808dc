#pragma once

#include <string>
#include <vector>

#include "analysis/gnuplot.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// A panel for each metric and a line for each run, over the steps of all its stages one after
/// another. @throws ConfigError if no run has any of them
Drawing training_curves(const std::vector<storage::RunReader>& runs, const std::vector<std::string>& metrics, Medium medium);

}  // namespace kronlab::analysis
