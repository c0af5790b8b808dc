#pragma once

#include <vector>

#include "analysis/gnuplot.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// The singular values of what was truncated, each layer's divided by its largest, over their places: a line for each
/// layer where they are few, else the geometric mean of a kind of layers over its blocks, or of all layers of a run.
/// @throws ConfigError if no run has recorded any
Drawing spectra(const std::vector<storage::RunReader>& runs, Medium medium);

}  // namespace kronlab::analysis
