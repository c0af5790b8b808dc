#pragma once

#include <vector>

#include "analysis/html_page.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::analysis {

/// The pictures that runs have something for: perplexities, size against perplexity, training, searches.
/// @throws StorageError if gnuplot is not there or fails
std::vector<Picture> page_pictures(const std::vector<storage::RunReader>& runs);

}  // namespace kronlab::analysis
