#include "framework/linalg/matching.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "framework/linalg/assignment.hpp"
#include "framework/linalg/sparse_matching.hpp"

namespace kronlab::linalg {
namespace {

/// Weights as integers, so that Edmonds' algorithm is exact.
class PricedMatching {
 public:
  explicit PricedMatching(ConstMatrixView<float> worth) : worth_(worth), n_(worth.rows) {
    float largest = 0;
    for (Index i = 0; i < n_; ++i) {
      for (const float w : worth.row(i)) largest = std::max(largest, std::abs(w));
    }
    unit_ = largest == 0 ? 1.0 : std::ldexp(1.0, std::ilogb(static_cast<double>(largest)) - 40);
  }

  Matching solve() {
    add_candidates();
    Matching result;
    SparseMatching found;
    do {
      std::vector<WeightedEdge> edges;
      for (const auto& [pair, weight] : edges_) edges.push_back({pair.first, pair.second, weight});
      found = best_sparse_matching(static_cast<int>(n_), edges);
      KRONLAB_EXPECTS(!found.partner.empty(), "no perfect matching of {} elements", n_);
      ++result.num_rounds;
    } while (add_violated(found));
    std::int64_t total = 0;
    for (const auto y : found.prices) total += y;
    for (const auto& blossom : found.blossoms) total += blossom.price * static_cast<std::int64_t>(blossom.nodes.size() / 2);
    // Each weight was rounded by at most half a unit.
    result.bound = unit_ * (static_cast<double>(total) / SparseMatching::price_scale + 0.25 * static_cast<double>(n_));
    for (Index i = 0; i < n_; ++i) {
      const Index j = found.partner[static_cast<std::size_t>(i)];
      result.partner.push_back(j);
      if (i < j) result.worth += static_cast<double>(worth_(i, j));
    }
    return result;
  }

 private:
  static constexpr Index num_candidates = 8;  ///< edges of least slack for each element

  std::int64_t weight(Index i, Index j) const { return std::llround(static_cast<double>(worth_(i, j)) / unit_); }
  void add(Index i, Index j) {
    edges_.try_emplace({static_cast<int>(std::min(i, j)), static_cast<int>(std::max(i, j))}, weight(i, j));
  }

  void add_candidates() {
    // No element with itself, and a Hamiltonian path so that there is a perfect matching.
    Matrix<float> copy(n_, n_);
    double total = 0;
    for (Index i = 0; i < n_; ++i) {
      for (Index j = 0; j < n_; ++j) copy(i, j) = worth_(i, j), total += std::abs(static_cast<double>(worth_(i, j)));
    }
    for (Index i = 0; i < n_; ++i) copy(i, i) = -static_cast<float>(std::min(total + 1, 1e30));
    const auto fractional = best_assignment(std::as_const(copy).view());
    std::vector<double> price(static_cast<std::size_t>(n_));
    for (std::size_t i = 0; i < price.size(); ++i) price[i] = (fractional.row_prices[i] + fractional.column_prices[i]) / 2;
    std::vector<std::pair<double, Index>> slack;
    for (Index i = 0; i < n_; ++i) {
      slack.clear();
      for (Index j = 0; j < n_; ++j) {
        if (j != i) slack.emplace_back(price[static_cast<std::size_t>(j)] - static_cast<double>(worth_(i, j)), j);
      }
      const auto count = std::min<std::size_t>(static_cast<std::size_t>(num_candidates), slack.size());
      std::partial_sort(slack.begin(), slack.begin() + static_cast<std::ptrdiff_t>(count), slack.end());
      for (std::size_t k = 0; k < count; ++k) add(i, slack[k].second);
      if (i + 1 < n_) add(i, i + 1);
    }
  }

  /// Edges that are worth more than the prices of their ends and of the blossoms that hold both. Whether there are any.
  bool add_violated(const SparseMatching& found) {
    std::vector<std::vector<std::pair<int, std::int64_t>>> blossoms_of(static_cast<std::size_t>(n_));
    for (std::size_t b = 0; b < found.blossoms.size(); ++b) {
      for (const int node : found.blossoms[b].nodes) {
        blossoms_of[static_cast<std::size_t>(node)].emplace_back(static_cast<int>(b), found.blossoms[b].price);
      }
    }
    const auto shared = [&](Index i, Index j) {
      std::int64_t sum = 0;
      const auto &a = blossoms_of[static_cast<std::size_t>(i)], &b = blossoms_of[static_cast<std::size_t>(j)];
      for (std::size_t p = 0, q = 0; p < a.size() && q < b.size();) {
        if (a[p].first == b[q].first) sum += a[p].second, ++p, ++q;
        else if (a[p].first < b[q].first) ++p;
        else ++q;
      }
      return sum;
    };
    bool any = false;
    for (Index i = 0; i < n_; ++i) {
      for (Index j = i + 1; j < n_; ++j) {
        const auto excess = SparseMatching::price_scale * weight(i, j) - found.prices[static_cast<std::size_t>(i)] - found.prices[static_cast<std::size_t>(j)];
        if (excess <= 0 || excess <= shared(i, j)) continue;
        add(i, j);
        any = true;
      }
    }
    return any;
  }

  ConstMatrixView<float> worth_;
  Index n_;
  double unit_ = 1.0;
  std::map<std::pair<int, int>, std::int64_t> edges_;
};

}  // namespace

Matching best_matching(ConstMatrixView<float> worth) {
  KRONLAB_EXPECTS(worth.rows == worth.cols && worth.rows % 2 == 0, "a perfect matching of {} elements by {} worths", worth.rows, worth.cols);
  if (worth.rows == 0) return {};
  return PricedMatching(worth).solve();
}

}  // namespace kronlab::linalg
