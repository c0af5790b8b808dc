#include "framework/linalg/assignment.hpp"

#include <algorithm>
#include <limits>

namespace kronlab::linalg {
namespace {

constexpr Index none = -1;

template <class Vector>
auto& at(Vector& v, Index i) {
  return v[static_cast<std::size_t>(i)];
}

/// Costs are -worth; `price` are the columns' dual variables v, with c(i, j) - v(j) smallest at the matched column.
class AugmentingPaths {
 public:
  explicit AugmentingPaths(ConstMatrixView<float> worth)
      : worth_(worth), n_(worth.rows), price_(size()), row_of_(size(), none), column_of_(size(), none), distance_(size()), from_(size()), columns_(size()) {}

  void reduce_columns() {
    std::vector<Index> cheapest(size(), 0);
    std::fill(price_.begin(), price_.end(), std::numeric_limits<double>::infinity());
    for (Index i = 0; i < n_; ++i) {
      for (Index j = 0; j < n_; ++j) {
        if (cost(i, j) < at(price_, j)) at(price_, j) = cost(i, j), at(cheapest, j) = i;
      }
    }
    for (Index j = n_ - 1; j >= 0; --j) {
      const Index i = at(cheapest, j);
      if (at(column_of_, i) == none) at(column_of_, i) = j, at(row_of_, j) = i;
    }
  }

  /// Free rows take their cheapest column at the price that makes the second cheapest as good, and free who had it; the
  /// rest after some steps is left to augmenting paths.
  /// Jonker and Volgenant, A shortest augmenting path algorithm for dense and sparse linear assignment problems, 1987.
  void reduce_rows() {
    std::vector<Index> free_rows;
    for (Index i = n_ - 1; i >= 0; --i) {
      if (at(column_of_, i) == none) free_rows.push_back(i);
    }
    for (Index steps = 4 * n_; steps > 0 && !free_rows.empty(); --steps) {
      const Index i = free_rows.back();
      free_rows.pop_back();
      constexpr double infinite = std::numeric_limits<double>::infinity();
      double least = infinite, second = infinite;
      Index column = 0, other = 0;
      for (Index j = 0; j < n_; ++j) {
        const double reduced = cost(i, j) - at(price_, j);
        if (reduced >= second) continue;
        if (reduced < least) {
          second = least, other = column;
          least = reduced, column = j;
        } else {
          second = reduced, other = j;
        }
      }
      if (second == infinite) second = least;
      const bool is_strict = least < second;
      if (is_strict) {
        at(price_, column) -= second - least;
      } else if (at(row_of_, column) != none) {
        column = other;
      }
      const Index before = at(row_of_, column);
      at(row_of_, column) = i, at(column_of_, i) = column;
      if (before == none) continue;
      at(column_of_, before) = none;
      if (is_strict) free_rows.push_back(before);  // of equals, the one that lost is left to an augmenting path
    }
  }

  void augment_all() {
    for (Index i = 0; i < n_; ++i) {
      if (at(column_of_, i) == none) augment(i);
    }
  }

  Assignment result() const {
    Assignment result{column_of_, 0.0, {}, {}};
    for (Index i = 0; i < n_; ++i) {
      const Index j = at(column_of_, i);
      result.worth -= cost(i, j);
      result.row_prices.push_back(at(price_, j) - cost(i, j));
    }
    for (const double v : price_) result.column_prices.push_back(-v);
    return result;
  }

 private:
  std::size_t size() const { return static_cast<std::size_t>(worth_.rows); }
  double cost(Index i, Index j) const { return -static_cast<double>(worth_(i, j)); }

  /// Dijkstra over columns from a free row; columns_[0, scanned) are final, [scanned, reached) at the least distance.
  void augment(Index free_row) {
    for (Index j = 0; j < n_; ++j) {
      at(distance_, j) = cost(free_row, j) - at(price_, j), at(from_, j) = free_row, at(columns_, j) = j;
    }
    Index scanned = 0, reached = 0, last = 0, end = none;
    double least = 0;
    while (end == none) {
      if (scanned == reached) {
        last = scanned;
        least = at(distance_, at(columns_, reached++));
        for (Index k = reached; k < n_; ++k) {
          const Index j = at(columns_, k);
          if (at(distance_, j) > least) continue;
          if (at(distance_, j) < least) reached = scanned, least = at(distance_, j);
          at(columns_, k) = at(columns_, reached), at(columns_, reached++) = j;
        }
        for (Index k = scanned; k < reached && end == none; ++k) {
          if (at(row_of_, at(columns_, k)) == none) end = at(columns_, k);
        }
        if (end != none) break;
      }
      const Index scanning = at(columns_, scanned++), i = at(row_of_, scanning);
      const double slack = cost(i, scanning) - at(price_, scanning) - least;
      for (Index k = reached; k < n_; ++k) {
        const Index j = at(columns_, k);
        const double through = cost(i, j) - at(price_, j) - slack;
        if (through >= at(distance_, j)) continue;
        at(distance_, j) = through, at(from_, j) = i;
        if (through > least) continue;
        if (at(row_of_, j) == none) {
          end = j;
          break;
        }
        at(columns_, k) = at(columns_, reached), at(columns_, reached++) = j;
      }
    }
    for (Index k = 0; k < last; ++k) at(price_, at(columns_, k)) += at(distance_, at(columns_, k)) - least;
    for (Index i = none; i != free_row;) {
      i = at(from_, end);
      at(row_of_, end) = i;
      std::swap(end, at(column_of_, i));
    }
  }

  ConstMatrixView<float> worth_;
  Index n_;
  std::vector<double> price_;
  std::vector<Index> row_of_, column_of_;
  std::vector<double> distance_;
  std::vector<Index> from_, columns_;
};

}  // namespace

Assignment best_assignment(ConstMatrixView<float> worth) {
  KRONLAB_EXPECTS(worth.rows == worth.cols, "an assignment of {} to {}", worth.rows, worth.cols);
  AugmentingPaths paths(worth);
  paths.reduce_columns();
  paths.reduce_rows();
  paths.augment_all();
  return paths.result();
}

}  // namespace kronlab::linalg
