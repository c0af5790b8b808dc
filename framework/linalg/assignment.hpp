#pragma once

#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::linalg {

/// A perfect matching of rows with columns and the proof that none is worth more.
struct Assignment {
  std::vector<Index> column_of_row;
  double worth = 0.0;                              ///< Σ_i worth(i, column_of_row[i])
  std::vector<double> row_prices, column_prices;   ///< row_prices[i] + column_prices[j] >= worth(i, j), equal where
                                                   ///< matched, up to rounding: their sum bounds every assignment
};

/// The assignment of largest worth, by shortest augmenting paths. worth: [n, n], finite. Time O(n^3), memory O(n).
/// Deterministic.
///
/// Jonker and Volgenant, A shortest augmenting path algorithm for dense and sparse linear assignment problems, 1987
/// (column reduction and augmentation).
Assignment best_assignment(ConstMatrixView<float> worth);

}  // namespace kronlab::linalg
