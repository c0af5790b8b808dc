#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/vectors.hpp"

/// What loops over rows of activations share. Values of two bytes are copied to floats and back: g++ vectorises each of
/// the three loops, but not one that widens, computes and narrows.
namespace kronlab::kernels {

inline void expect_same_shape(ConstTensorView a, ConstTensorView b) {
  KRONLAB_EXPECTS(a.rows == b.rows && a.cols == b.cols, "shapes [{}, {}] and [{}, {}] differ", a.rows, a.cols, b.rows,
                  b.cols);
}

inline void expect_row_of(ConstTensorView row, ConstTensorView x) {
  KRONLAB_EXPECTS(row.rows == 1 && row.cols == x.cols, "a row of [{}, {}] for [{}, {}]", row.rows, row.cols, x.rows,
                  x.cols);
}

/// Sum over a row of term(a[j], b[j], ...) for inputs a, b, ...; the term takes vectors or single values. Four sums
/// run beside each other: one alone would wait for each addition.
template <class Real, class Term, class... Inputs>
Real row_sum(Index cols, Term term, const Inputs*... inputs) {
  using Vector = typename Lanes<Real>::type;
  constexpr int num_sums = 4;
  constexpr Index step = lanes<Real>;
  Vector sums[num_sums] = {};
  Index j = 0;
  for (; j + num_sums * step <= cols; j += num_sums * step) {
    for (int s = 0; s < num_sums; ++s) sums[s] += term(load<Real>(inputs + j + s * step)...);
  }
  for (; j + step <= cols; j += step) sums[0] += term(load<Real>(inputs + j)...);
  const Vector vector = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  Real sum = 0;
  for (Index lane = 0; lane < step; ++lane) sum += vector[lane];
  for (; j < cols; ++j) sum += term(inputs[j]...);
  return sum;
}

inline constexpr Index strip_size = 256;  // floats of a row that wait on the stack while their type changes

// No `omp simd` on these two: with it g++ 12 gives up on types of two bytes (5 times slower).
template <class T, class Real>
void widen(const T* from, Index count, Real* to) {
  for (Index j = 0; j < count; ++j) to[j] = static_cast<Real>(from[j]);
}

template <class Real, class T>
void narrow(const Real* from, Index count, T* to) {
  for (Index j = 0; j < count; ++j) to[j] = static_cast<T>(from[j]);
}

/// body(first, count) for each strip of a row.
template <class Body>
void for_strips(Index cols, Body body) {
  for (Index first = 0; first < cols; first += strip_size) body(first, std::min(strip_size, cols - first));
}

/// A strip of a row as values to compute with: the row itself where the types agree, else a copy.
template <class T>
class StripReader {
 public:
  using Real = compute_t<T>;
  const Real* operator()(const T* row, [[maybe_unused]] Index count) {
    if constexpr (std::is_same_v<T, Real>) {
      return row;
    } else {
      widen(row, count, copy_);
      return copy_;
    }
  }

 private:
  struct Nothing {};
  [[no_unique_address]] std::conditional_t<std::is_same_v<T, Real>, Nothing, Real[strip_size]> copy_;
};

/// Where to write a strip of a row in the compute type; `store` brings it there.
template <class T>
class StripWriter {
 public:
  using Real = compute_t<T>;
  Real* operator()(T* row) {
    if constexpr (std::is_same_v<T, Real>) {
      return row;
    } else {
      return copy_;
    }
  }
  void store([[maybe_unused]] T* row, [[maybe_unused]] Index count) const {
    if constexpr (!std::is_same_v<T, Real>) narrow(copy_, count, row);
  }

 private:
  struct Nothing {};
  [[no_unique_address]] std::conditional_t<std::is_same_v<T, Real>, Nothing, Real[strip_size]> copy_;
};

/// A row of parameters in the type that a kernel computes with: the parameters themselves where the types agree, a copy
/// of f32 parameters beside f64 activations, zeros for an empty view.
template <class Real>
class ParameterRow {
 public:
  ParameterRow(ConstTensorView row, Index cols) {
    if (row.cols == 0) {
      copy_.assign(static_cast<std::size_t>(cols), Real{0});
    } else if (row.dtype == dtype_of<Real>::value) {
      data_ = row.as<Real>().data;
      return;
    } else {
      const auto values = row.as<float>();
      copy_.assign(values.data, values.data + cols);
    }
    data_ = copy_.data();
  }
  ParameterRow(const ParameterRow&) = delete;
  ParameterRow& operator=(const ParameterRow&) = delete;

  const Real* data() const { return data_; }

 private:
  std::vector<Real> copy_;
  const Real* data_ = nullptr;
};

}  // namespace kronlab::kernels
