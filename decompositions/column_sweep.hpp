#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/tensor/tensor.hpp"

namespace kronlab::decompositions {

/// @throws DataError naming the layer if C is 0: it had no input
void expect_tokens(const std::string& layer, const Matrix<double>& c);

/// Second moments of a layer's inputs as a sweep takes them.
struct SweepMoments {
  Matrix<double>
      factor;  ///< R, upper triangular: R R^T = H = C + damping mean(diag C) I, ones where an input was always 0
  std::vector<Index> order;  ///< column j of the sweep is column order[j] of the weight; empty: as they are
  std::vector<Index> dead;   ///< columns of the weight whose input was always 0
};
enum class ColumnOrder {
  given,
  by_activation,  ///< the largest diagonal entry of C first; equal ones as they are
};
/// c: [in, in]  @throws DataError naming the layer if it had no input at all, or H is not positive definite
SweepMoments sweep_moments(const std::string& layer, const Matrix<double>& c, double damping, ColumnOrder order);

/// The columns of the sweep, or back.  weight: [out, in]; an empty order leaves it as it is
Matrix<double> with_columns_ordered(const Matrix<double>& weight, const std::vector<Index>& order);
Matrix<double> with_columns_restored(const Matrix<double>& weight, const std::vector<Index>& order);

/// What becomes of weights that are settled one column after the other.
class ColumnPolicy {
 public:
  virtual ~ColumnPolicy() = default;
  /// Columns in a panel, and in a leaf of it. When a leaf is entered, all weights of its panel that are not settled yet
  /// are what the errors so far have made of them; between, those of the leaf are.
  virtual Index panel() const = 0;
  virtual Index leaf() const { return panel(); }
  /// Before anything has moved.  weights: [out, in]
  virtual void start(ConstMatrixView<double> /*weights*/) {}
  /// Before the columns of a leaf are settled.  weights: [out, columns of the leaf]; first: the first of them
  virtual void enter(Index /*first*/, ConstMatrixView<double> /*weights*/) {}
  /// What weight (row, column) becomes. Of one row, columns come in their sequence; several rows may come at once.
  /// weights: those of the row from this column to the end of the panel
  virtual double settle(Index row, Index column, std::span<const double> weights) noexcept = 0;
};

/// The optimal-brain-surgeon sweep that SparseGPT (Frantar and Alistarh, 2301.00774, algorithm 1) and GPTQ (Frantar et
/// al., 2210.17323, algorithm 1) share: columns are settled from left to right, and after each the weights to its right
/// become those with the least |dW R|_F^2 = tr(dW H dW^T) given what is settled. Returns that error.
///
///   e_j = (w_j - w^_j) R_jj      w_k -= e_j U_jk for k > j, U = R^-1
///
/// A panel gets all that the columns before it ask for at once: with d = W - W^ of those, w += d R_(before, panel)
/// R_(panel, panel)^-1, so the inverse of H is needed on its diagonal blocks only. Time about 2 out in (in / 2 + panel)
/// operations after the factor. Bit-equal for any number of threads.
/// weight: [out, in], in the order of the sweep
double sweep_columns(const Matrix<double>& factor, ColumnPolicy& policy, Matrix<double>& weight);
/// Multiply-adds of a factor and a sweep, roughly.
double sweep_cost(Index rows, Index cols);

}  // namespace kronlab::decompositions
