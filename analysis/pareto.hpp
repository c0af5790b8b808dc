#pragma once

#include <string>
#include <vector>

#include "analysis/gnuplot.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::analysis {

/// What a model's size is counted in.
enum class SizeOf { parameters, stored_bytes };

/// Places of the points that no other point beats: none is at most as large and better, or smaller and as good. By size.
std::vector<std::size_t> pareto_front(const std::vector<double>& sizes, const std::vector<double>& losses);

/// A panel for each measure: size against perplexity, the front of the compressed models as a line, dense models beside
/// it. @throws ConfigError if no run has both a size and a perplexity
Drawing pareto(const storage::Results& results, SizeOf size, Medium medium);

}  // namespace kronlab::analysis
