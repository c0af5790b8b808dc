#include "framework/linalg/distributed_matrix.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

extern "C" {
int Csys2blacs_handle(MPI_Comm communicator);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int* context, const char* order, int rows, int cols);
void Cblacs_gridinfo(int context, int* rows, int* cols, int* row, int* col);
void Cblacs_gridexit(int context);
}

namespace kronlab::linalg {
namespace {

int as_int(Index value) { return checked_cast<int>(value); }

/// Whether blocks of 64 are dealt to `place` of `count`, and where an index then lies.
int owner(Index index, int count) { return static_cast<int>(index / DistributedMatrix::block % count); }
Index local_index(Index index, int count) {
  constexpr Index block = DistributedMatrix::block;
  return index / (block * count) * block + index % block;
}
Index local_count(Index extent, int place, int count) {
  Index total = 0;
  for (Index first = place * DistributedMatrix::block; first < extent; first += count * DistributedMatrix::block) {
    total += std::min(DistributedMatrix::block, extent - first);
  }
  return total;
}

/// Visits the entries of some rows of a matrix with their rank and their place in the rearranged matrix.
void for_each_entry(const BlacsGrid& grid, comm::Range rows, Index cols, Blocks blocks, const auto& visit) {
  for (Index i = rows.begin; i < rows.end; ++i) {
    for (Index j = 0; j < cols; ++j) {
      const Index to_row = i / blocks.rows * (cols / blocks.cols) + j / blocks.cols;
      const Index to_col = i % blocks.rows * blocks.cols + j % blocks.cols;
      visit(owner(to_row, grid.rows()) * grid.cols() + owner(to_col, grid.cols()), to_row, to_col, i - rows.begin, j);
    }
  }
}

std::vector<int> offsets_of(const std::vector<int>& counts) {
  std::vector<int> offsets(counts.size());
  Index total = 0;
  for (std::size_t r = 0; r < counts.size(); ++r) offsets[r] = as_int(total), total += counts[r];
  as_int(total);
  return offsets;
}

}  // namespace

BlacsGrid::BlacsGrid(const comm::Communicator& communicator)
    : communicator_(communicator.handle()), exceptions_(std::uncaught_exceptions()) {
  while ((rows_ + 1) * (rows_ + 1) <= communicator.size()) ++rows_;
  cols_ = communicator.size() / rows_;
  context_ = system_ = Csys2blacs_handle(communicator_.handle());
  Cblacs_gridinit(&context_, "Row", rows_, cols_);
  if (communicator_.rank() < rows_ * cols_) {
    int rows = 0, cols = 0;
    Cblacs_gridinfo(context_, &rows, &cols, &row_, &col_);
    KRONLAB_EXPECTS(rows == rows_ && cols == cols_ && row_ * cols_ + col_ == communicator_.rank(),
                    "BLACS made a grid of {} x {} with rank {} at {}, {}; expected {} x {}", rows, cols,
                    communicator_.rank(), row_, col_, rows_, cols_);
  }
}

BlacsGrid::~BlacsGrid() {
  if (std::uncaught_exceptions() > exceptions_) return;
  if (has_this_rank()) Cblacs_gridexit(context_);
  Cfree_blacs_system_handle(system_);
}

DistributedMatrix::DistributedMatrix(std::shared_ptr<const BlacsGrid> grid, Index rows, Index cols)
    : grid_(std::move(grid)), rows_(rows), cols_(cols) {
  KRONLAB_EXPECTS(rows > 0 && cols > 0, "a distributed matrix of {} x {}", rows, cols);
  if (grid_->has_this_rank()) {
    local_rows_ = local_count(rows, grid_->row(), grid_->rows());
    local_cols_ = local_count(cols, grid_->col(), grid_->cols());
  }
  local_.resize(static_cast<std::size_t>(std::max<Index>(local_rows_ * local_cols_, 1)));
  descriptor_ = {1,
                 grid_->context(),
                 as_int(rows),
                 as_int(cols),
                 as_int(block),
                 as_int(block),
                 0,
                 0,
                 as_int(std::max<Index>(local_rows_, 1))};
}

double& DistributedMatrix::local(Index i, Index j) {
  return local_[static_cast<std::size_t>(local_index(j, grid_->cols()) * local_rows_ + local_index(i, grid_->rows()))];
}

DistributedMatrix DistributedMatrix::from_rows(const comm::Communicator& communicator, ConstMatrixView<double> own_rows,
                                               Index rows, Index cols, Blocks blocks) {
  const int rank = communicator.rank(), size = communicator.size();
  const auto range = comm::block_range(rows, rank, size);
  comm::coordinate(communicator, [&] {
    KRONLAB_EXPECTS(
        rows > 0 && cols > 0 && own_rows.rows == range.size() && (own_rows.cols == cols || range.size() == 0),
        "rank {} gives {} x {} of {} x {}, expected {} rows", rank, own_rows.rows, own_rows.cols, rows, cols,
        range.size());
    KRONLAB_EXPECTS(blocks.rows > 0 && blocks.cols > 0 && rows % blocks.rows == 0 && cols % blocks.cols == 0,
                    "blocks of {} x {} do not divide {} x {}", blocks.rows, blocks.cols, rows, cols);
    for (Index i = 0; i < own_rows.rows; ++i) {
      for (const double value : own_rows.row(i)) {
        if (!std::isfinite(value))
          throw DataError(fmt::format("row {} of the matrix has an element that is {}", range.begin + i, value));
      }
    }
  });
  DistributedMatrix result(std::make_shared<const BlacsGrid>(communicator), rows / blocks.rows * (cols / blocks.cols),
                           blocks.rows * blocks.cols);
  const BlacsGrid& grid = *result.grid_;
  std::vector<int> send_counts(static_cast<std::size_t>(size)), receive_counts(send_counts.size());
  comm::coordinate(communicator,
                   [&] { as_int(range.size() * cols), as_int(static_cast<Index>(result.local_.size())); });
  for_each_entry(grid, range, cols, blocks,
                 [&](int to, Index, Index, Index, Index) { ++send_counts[static_cast<std::size_t>(to)]; });
  for (int from = 0; from < size; ++from) {
    for_each_entry(grid, comm::block_range(rows, from, size), cols, blocks, [&](int to, Index, Index, Index, Index) {
      if (to == rank) ++receive_counts[static_cast<std::size_t>(from)];
    });
  }
  const auto send_offsets = offsets_of(send_counts), receive_offsets = offsets_of(receive_counts);
  std::vector<double> sent(static_cast<std::size_t>(range.size() * cols)),
      received(static_cast<std::size_t>(receive_offsets.back() + receive_counts.back()));
  auto next = send_offsets;
  for_each_entry(grid, range, cols, blocks, [&](int to, Index, Index, Index i, Index j) {
    sent[static_cast<std::size_t>(next[static_cast<std::size_t>(to)]++)] = own_rows(i, j);
  });
  const int status = MPI_Alltoallv(sent.data(), send_counts.data(), send_offsets.data(), MPI_DOUBLE, received.data(),
                                   receive_counts.data(), receive_offsets.data(), MPI_DOUBLE, communicator.handle());
  if (status != MPI_SUCCESS)
    throw MpiError(fmt::format("MPI_Alltoallv of a distributed matrix failed with status {}", status));
  std::size_t place = 0;
  for (int from = 0; from < size; ++from) {
    for_each_entry(grid, comm::block_range(rows, from, size), cols, blocks,
                   [&](int to, Index to_row, Index to_col, Index, Index) {
                     if (to == rank) result.local(to_row, to_col) = received[place++];
                   });
  }
  return result;
}

Matrix<double> DistributedMatrix::gather(Index first, Index count) const {
  KRONLAB_EXPECTS(first >= 0 && count >= 0 && first + count <= cols_, "columns {} to {} of {}", first, first + count,
                  cols_);
  Matrix<double> whole(rows_, count);
  if (grid_->has_this_rank()) {
    for (Index j = first; j < first + count; ++j) {
      if (owner(j, grid_->cols()) != grid_->col()) continue;
      const double* column = local_.data() + local_index(j, grid_->cols()) * local_rows_;
      for (Index i = 0; i < rows_; ++i) {
        if (owner(i, grid_->rows()) == grid_->row()) whole(i, j - first) = column[local_index(i, grid_->rows())];
      }
    }
  }
  // Each element is on one rank, and zeros change nothing.
  grid_->communicator().sum(std::span<double>(whole.data(), static_cast<std::size_t>(whole.size())));
  return whole;
}

Matrix<double> product_of_rows(const comm::Communicator& communicator, Transpose transpose, ConstMatrixView<double> m,
                               ConstMatrixView<double> own_rows) {
  const auto own = comm::block_range(m.rows, communicator.rank(), communicator.size());
  comm::coordinate(communicator, [&] {
    KRONLAB_EXPECTS(m.rows == m.cols && own_rows.rows == own.size(), "product of {} x {} with {} of {} rows", m.rows,
                    m.cols, own_rows.rows, own.size());
  });
  Matrix<double> result;
  for (int owner = 0; owner < communicator.size(); ++owner) {
    const auto range = comm::block_range(m.rows, owner, communicator.size());
    Matrix<double> part(range.size(), own_rows.cols);
    const auto block = transpose == Transpose::yes ? m.block(own.begin, range.begin, own.size(), range.size())
                                                   : m.block(range.begin, own.begin, range.size(), own.size());
    gemm(transpose, block, Transpose::no, own_rows, 0.0, part.view());
    communicator.sum(std::span<double>(part.data(), static_cast<std::size_t>(part.size())));
    if (owner == communicator.rank()) result = std::move(part);
  }
  return result;
}

}  // namespace kronlab::linalg
