#pragma once

#include "analysis/gnuplot.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::analysis {

/// A panel for each measure: a point with its standard error for each run, a line for each dense model.
/// @throws ConfigError if nothing was measured
Drawing perplexity_points(const storage::Results& results, Medium medium);

}  // namespace kronlab::analysis
