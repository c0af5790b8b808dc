#pragma once

// C++17: included by the file that compiles LEMON.

#include <cstdint>
#include <vector>

namespace kronlab::linalg {

struct WeightedEdge {
  int first = 0, second = 0;
  std::int64_t weight = 0;
};

/// A perfect matching of largest weight and its dual solution, exact in integers.
struct SparseMatching {
  /// An odd set of nodes with its price z >= 0.
  struct Blossom {
    std::vector<int> nodes;
    std::int64_t price = 0;
  };
  static constexpr std::int64_t price_scale = 4;  ///< of prices against weights
  std::vector<int> partner;                       ///< empty: the graph has no perfect matching
  std::vector<std::int64_t> prices;               ///< y_i: y_i + y_j + Σ z of the blossoms that hold both >= 4 weight
  std::vector<Blossom> blossoms;                  ///< 4 weight of the matching = Σ y + Σ z (|nodes| - 1) / 2
};

/// By LEMON (Edmonds' algorithm, O(n e log n)). num_nodes is even; no edge twice.
SparseMatching best_sparse_matching(int num_nodes, const std::vector<WeightedEdge>& edges);

}  // namespace kronlab::linalg
