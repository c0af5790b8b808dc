#include "decompositions/site_factors.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace kronlab::decompositions {
namespace {

/// Walks through the products of factors that never fall, and keeps the one with the least sum.
class BalancedSearch {
 public:
  explicit BalancedSearch(Index extent) {
    for (Index d = 2; d * d <= extent; ++d) {
      if (extent % d != 0) continue;
      divisors_.push_back(d);
      if (d * d != extent) divisors_.push_back(extent / d);
    }
    if (extent > 1) divisors_.push_back(extent);
    std::ranges::sort(divisors_);
  }

  /// rest: what `num` more factors of at least `least` must make
  void walk(Index rest, Index num, Index least, Index sum) {
    // Equal factors have the least sum of all.
    if (static_cast<double>(sum) + static_cast<double>(num) * std::pow(static_cast<double>(rest), 1.0 / static_cast<double>(num)) >= best_sum_) return;
    if (num == 1) {
      if (rest < least) return;
      best_sum_ = static_cast<double>(sum + rest) - 0.5;
      best_ = factors_;
      best_.push_back(rest);
      return;
    }
    for (const Index d : divisors_) {
      if (d < least || rest % d != 0) continue;
      if (std::pow(static_cast<double>(d), static_cast<double>(num)) > static_cast<double>(rest) * 1.000001) break;
      factors_.push_back(d);
      walk(rest / d, num - 1, d, sum + d);
      factors_.pop_back();
    }
  }

  const std::vector<Index>& best() const { return best_; }

 private:
  std::vector<Index> divisors_, factors_, best_;
  double best_sum_ = 1e300;
};

}  // namespace

std::optional<std::vector<Index>> balanced_factors(Index extent, Index num_sites, double spread) {
  KRONLAB_EXPECTS(extent >= 1 && num_sites >= 1, "{} in {} factors", extent, num_sites);
  if (num_sites > 62 || extent < Index{1} << num_sites) return std::nullopt;
  BalancedSearch search(extent);
  search.walk(extent, num_sites, 2, 0);
  if (search.best().empty()) return std::nullopt;
  const double equal = std::pow(static_cast<double>(extent), 1.0 / static_cast<double>(num_sites));
  if (static_cast<double>(search.best().back()) > spread * equal) return std::nullopt;
  return search.best();
}

NearestExtents nearest_factorable(Index extent, Index num_sites) {
  NearestExtents nearest;
  const Index least = Index{1} << std::min<Index>(num_sites, 62);
  for (Index below = extent - 1; below >= least && nearest.below == 0; --below) {
    if (balanced_factors(below, num_sites)) nearest.below = below;
  }
  for (Index above = std::max(extent + 1, least); nearest.above == 0; ++above) {
    if (balanced_factors(above, num_sites)) nearest.above = above;
  }
  return nearest;
}

std::vector<Index> padded_factors(Index extent, Index num_sites, double spread) {
  for (Index padded = std::max(extent, Index{1} << std::min<Index>(num_sites, 62));; ++padded) {
    if (auto factors = balanced_factors(padded, num_sites, spread)) return std::move(*factors);
  }
}

std::string product_text(const std::vector<Index>& factors) { return fmt::format("{}", fmt::join(factors, " x ")); }

}  // namespace kronlab::decompositions
