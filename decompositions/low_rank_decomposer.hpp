#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "decompositions/decomposer.hpp"

namespace kronlab::decompositions {

/// What all methods share whose result is a product U V of two dense factors: size and shapes, which follow from the
/// rank alone. The rank is called truncation in SvdOptions.
class LowRankDecomposer : public Decomposer {
 public:
  /// kind: for messages too. @throws ConfigError unless `options` has one of truncation and keep, and that can be
  LowRankDecomposer(const SvdOptions& options, std::string_view kind);

  std::string_view kind() const override { return kind_; }
  Size size_of(const std::string& layer, Index rows, Index cols) const override;
  std::vector<FactorShape> stored_factors(const std::string& layer, Index rows, Index cols) const override;
  /// Of a singular value decomposition.
  double cost(Index rows, Index cols) const override;

 protected:
  /// @throws ConfigError if it is not between 1 and what the shape has
  Index truncation(const std::string& layer, Index rows, Index cols) const;

 private:
  SvdOptions options_;
  std::string kind_;
};

}  // namespace kronlab::decompositions
