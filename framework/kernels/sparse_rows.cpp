#include "framework/kernels/sparse_rows.hpp"

#include <bit>
#include <type_traits>
#include <vector>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/row_loops.hpp"

namespace kronlab::kernels {
namespace {

/// body(place of the value, column) for the entries of a row.
template <class Body>
void for_entries(const SparseRows& w, Index row, Body body) {
  const Index bytes = SparseRows::mask_bytes(w.cols);
  const std::uint8_t* mask = w.mask + row * bytes;
  Index place = w.row_starts[row];
  for (Index b = 0; b < bytes; ++b) {
    for (unsigned rest = mask[b]; rest != 0; rest &= rest - 1) body(place++, 8 * b + std::countr_zero(rest));
  }
}

void expect_rows(const SparseRows& w, Index first_row, ConstTensorView dense, ConstTensorView values) {
  KRONLAB_EXPECTS(first_row >= 0 && first_row + dense.rows <= w.rows && dense.cols == w.cols, "rows {} to {} of {} columns, sparse are {} of {}",
                  first_row, first_row + dense.rows, dense.cols, w.rows, w.cols);
  KRONLAB_EXPECTS(values.rows == 1 && values.cols >= w.end(), "{} values of {} entries", values.cols, w.end());
}

}  // namespace

void expand_rows(const SparseRows& w, ConstTensorView values, Index first_row, TensorView out) {
  expect_rows(w, first_row, out, values);
  for_real_type(values.dtype, [&]<class Value>(Value) {
    const Value* from = values.as<Value>().data;
    for_activation_type(out.dtype, [&]<class T>(T) {
      const auto to = out.as<T>();
#pragma omp parallel for schedule(static) if (out.rows > 1)
      for (Index i = 0; i < out.rows; ++i) {
        T* row = &to(i, 0);
        std::fill_n(row, w.cols, T{});
        for_entries(w, first_row + i, [&](Index place, Index c) { row[c] = static_cast<T>(static_cast<compute_t<T>>(from[place])); });
      }
    });
  });
}

void add_kept(const SparseRows& w, Index first_row, ConstTensorView dense, TensorView sums) {
  expect_rows(w, first_row, dense, sums);
  for_real_type(dense.dtype, [&]<class Dense>(Dense) {
    for_real_type(sums.dtype, [&]<class Real>(Real) {
      const auto from = dense.as<Dense>();
      Real* to = sums.as<Real>().data;
#pragma omp parallel for schedule(static) if (dense.rows > 1)
      for (Index i = 0; i < dense.rows; ++i)
        for_entries(w, first_row + i, [&](Index place, Index c) { to[place] += static_cast<Real>(from(i, c)); });
    });
  });
}

}  // namespace kronlab::kernels
