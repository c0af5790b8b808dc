#include "decompositions/low_rank_decomposer.hpp"

#include <algorithm>
#include <cmath>

namespace kronlab::decompositions {

LowRankDecomposer::LowRankDecomposer(const SvdOptions& options, std::string_view kind)
    : options_(options), kind_(kind) {
  if (options.truncation.has_value() == options.keep.has_value()) {
    throw ConfigError(fmt::format("{}: give either truncation or keep", kind));
  }
  if (options.keep && !(*options.keep > 0 && *options.keep <= 2)) {
    throw ConfigError(fmt::format("{}: keep is {}, expected a share of the parameters above 0", kind, *options.keep));
  }
}

Size LowRankDecomposer::size_of(const std::string& layer, Index rows, Index cols) const {
  const Index parameters = truncation(layer, rows, cols) * (rows + cols);
  return {parameters, 4 * parameters};
}

std::vector<FactorShape> LowRankDecomposer::stored_factors(const std::string& layer, Index rows, Index cols) const {
  const Index kept = truncation(layer, rows, cols);
  return {{rows, kept}, {kept, cols}};
}

double LowRankDecomposer::cost(Index rows, Index cols) const {
  return 12.0 * static_cast<double>(rows * cols) * static_cast<double>(std::min(rows, cols));
}

Index LowRankDecomposer::truncation(const std::string& layer, Index rows, Index cols) const {
  const Index possible = std::min(rows, cols);
  const Index truncation =
      options_.truncation
          ? *options_.truncation
          : static_cast<Index>(std::floor(*options_.keep * static_cast<double>(rows) * static_cast<double>(cols) /
                                          static_cast<double>(rows + cols)));
  if (truncation < 1 || truncation > possible) {
    throw ConfigError(fmt::format("{}: truncation {} for `{}` ({} x {}), expected 1 to {}", kind_, truncation, layer,
                                  rows, cols, possible));
  }
  return truncation;
}

}  // namespace kronlab::decompositions
