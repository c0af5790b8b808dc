#pragma once

#include <array>
#include <memory>
#include <vector>

#include "framework/comm/communicator.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::linalg {

/// A near-square BLACS grid of p x q ranks with p = floor(sqrt(size)) and q = size / p: fewer than p ranks stay
/// outside.
///
/// Owns a duplicate of the communicator. Construction is collective; destruction too, on the good path: while an
/// exception unwinds the grid is left to MPI_Finalize, since nothing may be communicated then.
class BlacsGrid {
 public:
  explicit BlacsGrid(const comm::Communicator& communicator);
  ~BlacsGrid();
  BlacsGrid(const BlacsGrid&) = delete;
  BlacsGrid& operator=(const BlacsGrid&) = delete;

  const comm::Communicator& communicator() const { return communicator_; }
  int context() const { return context_; }
  int rows() const { return rows_; }
  int cols() const { return cols_; }
  /// This rank's place; -1 outside the grid.
  int row() const { return row_; }
  int col() const { return col_; }
  bool has_this_rank() const { return row_ >= 0; }

 private:
  comm::Communicator communicator_;
  int exceptions_ = 0;
  int system_ = -1, context_ = -1;
  int rows_ = 1, cols_ = 1, row_ = -1, col_ = -1;
};

/// How a matrix is read as blocks of `rows` x `cols`, each of which becomes a row: R of decompositions::rearrange. One
/// row of the matrix as a block leaves it as it is.
struct Blocks {
  Index rows = 1;
  Index cols = 1;
};

/// A matrix of doubles, dealt in blocks of 64 x 64 over a grid of ranks, as ScaLAPACK wants it.
class DistributedMatrix {
 public:
  static constexpr Index block = 64;

  /// Zero. @pre rows > 0, cols > 0
  DistributedMatrix(std::shared_ptr<const BlacsGrid> grid, Index rows, Index cols);

  /// From the contiguous rows comm::block_range(rows, rank, size) of each rank, rearranged by blocks. Collective.
  /// @pre own_rows is [size of that range, cols]; blocks divide the matrix @throws CollectiveError if one rank's do
  /// not, or are not finite
  static DistributedMatrix from_rows(const comm::Communicator& communicator, ConstMatrixView<double> own_rows,
                                     Index rows, Index cols, Blocks blocks);
  static DistributedMatrix from_rows(const comm::Communicator& communicator, ConstMatrixView<double> own_rows,
                                     Index rows, Index cols) {
    return from_rows(communicator, own_rows, rows, cols, {1, cols});
  }

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  const std::shared_ptr<const BlacsGrid>& grid() const { return grid_; }
  /// Columns first .. first + count - 1, on every rank. Collective.
  Matrix<double> gather(Index first, Index count) const;
  Matrix<double> gather() const { return gather(0, cols_); }

  /// This rank's part, column-major, and its ScaLAPACK descriptor.
  double* data() { return local_.data(); }
  const double* data() const { return local_.data(); }
  const int* descriptor() const { return descriptor_.data(); }

 private:
  double& local(Index i, Index j);

  std::shared_ptr<const BlacsGrid> grid_;
  Index rows_ = 0, cols_ = 0, local_rows_ = 0, local_cols_ = 0;
  std::vector<double> local_;
  std::array<int, 9> descriptor_{};
};

/// This rank's rows of op(M) A, where every rank has all of M: [m, m] and its rows comm::block_range(m, rank, size) of
/// A: [m, n]. One block of rows is summed over the ranks after another: memory 2 n m / ranks. Collective.
Matrix<double> product_of_rows(const comm::Communicator& communicator, Transpose transpose, ConstMatrixView<double> m,
                               ConstMatrixView<double> own_rows);

/// The k leading singular triples, the same on every rank: by the Gram matrix of the short side (pdsyrk, pdsyevd),
/// accurate as truncated_svd by SvdMethod::gram, or `direct` (pdgesvd, several times slower). Collective.
///
/// Bits depend on the number of ranks. Each rank holds the result; the other matrices are distributed.
/// @pre 1 <= k <= min(m, n); method is gram or direct @throws DataError, on all ranks, if the solver did not converge
Svd truncated_svd(const DistributedMatrix& a, Index k, SvdMethod method = SvdMethod::gram);

}  // namespace kronlab::linalg
