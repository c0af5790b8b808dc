#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "framework/kernels/attention.hpp"
#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/vector_math.hpp"
#include "framework/kernels/vectors.hpp"

/// What attention and its gradient share: products of a block of queries with the keys that it sees, by tiles whose
/// accumulators stay in vector registers. Tiles above the diagonal are left out.
namespace kronlab::kernels::attention {

inline constexpr Index query_block =
    48;  // queries whose scores a thread holds at once; a multiple of every tile height

// Tiles whose accumulators, one row of B and one element of A fit the CPU's vector registers: 32 of 64 bytes, or 16
// of 32.
#ifdef __AVX512F__
inline constexpr int score_rows = 8, score_vectors = 2;
inline constexpr int value_rows = 6, value_vectors = 4;
#else
inline constexpr int score_rows = 6, score_vectors = 2;
inline constexpr int value_rows = 6, value_vectors = 2;
#endif

template <class Real>
inline constexpr Index key_tile = score_vectors* lanes<Real>;

inline Index round_up(Index value, Index step) { return (value + step - 1) / step * step; }

enum class Order { rows, columns };
enum class Result { write, add };

/// C[Rows, Vectors * lanes] = (or +=) A[Rows, depth] B[depth, Vectors * lanes]; all accumulators stay in registers.
/// In the order of columns, a_stride elements lie from column to column of A.
template <class Real, int Rows, int Vectors, Order order, Result result>
inline void tile_product(Index depth, const Real* a, Index a_stride, const Real* b, Index b_stride, Real* c,
                         Index c_stride) {
  using Vector = typename Lanes<Real>::type;
  Vector sum[Rows][Vectors] = {};
  for (Index k = 0; k < depth; ++k) {
    Vector row[Vectors];
    for (int v = 0; v < Vectors; ++v) row[v] = *reinterpret_cast<const Vector*>(b + k * b_stride + v * lanes<Real>);
    for (int r = 0; r < Rows; ++r) {
      const Real factor = order == Order::rows ? a[r * a_stride + k] : a[k * a_stride + r];
      for (int v = 0; v < Vectors; ++v) sum[r][v] += factor * row[v];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Vectors; ++v) {
      auto& target = *reinterpret_cast<Vector*>(c + r * c_stride + v * lanes<Real>);
      if constexpr (result == Result::add) {
        target += sum[r][v];
      } else {
        target = sum[r][v];
      }
    }
  }
}

/// Sizes of one head's buffers. Rows of scores end in zeros, so that tiles of values may reach beyond the last key.
template <class Real>
struct HeadLayout {
  HeadLayout(Index length_, Index head_dim_)
      : length(length_),
        head_dim(head_dim_),
        padded_length(round_up(length, key_tile<Real>)),
        padded_dim(round_up(head_dim, lanes<Real>)),
        score_stride(padded_length + key_tile<Real>) {}

  Index length, head_dim, padded_length, padded_dim, score_stride;

  Index tiles_size() const { return padded_length * head_dim; }
  Index columns_size() const { return padded_length * padded_dim; }
  Index scores_size() const { return query_block * score_stride; }
  Index block_size() const { return query_block * padded_dim; }
  Index gradient_size() const { return (padded_length + value_rows) * padded_dim; }
};

/// Transposes lanes x lanes values in registers: a stage swaps the off-diagonal halves of the squares of 2 x `half`
/// rows and columns (Eklundh, A fast computer method for matrix transposing, 1972).
template <class Real, int half = 1>
inline void transpose(typename Lanes<Real>::type (&rows)[lanes<Real>]) {
  constexpr int count = static_cast<int>(lanes<Real>);
  if constexpr (half < count) {
    using Integer = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;
    typedef Integer Mask __attribute__((vector_size(vector_bytes)));
    [&]<int... c>(std::integer_sequence<int, c...>) {
      constexpr Mask low = {((c & half) == 0 ? c : count + c - half)...};
      constexpr Mask high = {((c & half) == 0 ? c + half : count + c)...};
      for (int i = 0; i < count; ++i) {
        if ((i & half) != 0) continue;
        const auto a = rows[i], b = rows[i + half];
        rows[i] = __builtin_shuffle(a, b, low);
        rows[i + half] = __builtin_shuffle(a, b, high);
      }
    }
    (std::make_integer_sequence<int, count>());
    transpose<Real, 2 * half>(rows);
  }
}

/// Rows of one head as the right-hand side of scores: [padded_length / key_tile][head_dim][key_tile].
template <class Real, class T>
void pack_tiles(const HeadLayout<Real>& l, ConstMatrixView<T> rows, Real* tiles) {
  using Vector = typename Lanes<Real>::type;
  constexpr Index width = key_tile<Real>, step = lanes<Real>;
  const Index whole_cols = l.head_dim / step * step;
  for (Index first = 0; first < l.padded_length; first += step) {
    Real* tile = tiles + first / width * width * l.head_dim + first % width;
    const Index count = std::clamp(l.length - first, Index{0}, step);
    Index j = 0;
    for (; count == step && j < whole_cols; j += step) {
      Vector square[step];
      for (Index t = 0; t < step; ++t) {
        square[t] = load<Real>(&rows(first + t, j));
      }
      transpose<Real>(square);
      for (Index c = 0; c < step; ++c) *reinterpret_cast<Vector*>(tile + (j + c) * width) = square[c];
    }
    for (; j < l.head_dim; ++j) {
      for (Index t = 0; t < step; ++t)
        tile[j * width + t] = t < count ? static_cast<Real>(rows(first + t, j)) : Real{0};
    }
  }
}

/// body(first column, std::integral_constant vectors) for every tile of columns.
template <class Real, class Body>
void for_column_tiles(Index padded_dim, Body body) {
  Index j = 0;
  for (; j + value_vectors * lanes<Real> <= padded_dim; j += value_vectors * lanes<Real>) {
    body(j, std::integral_constant<int, value_vectors>());
  }
  for (; j < padded_dim; j += lanes<Real>) body(j, std::integral_constant<int, 1>());
}

/// Rows of one head as the right-hand side of products with scores: tiles of columns, each [padded_length][its width].
template <class Real, class T>
void pack_columns(const HeadLayout<Real>& l, ConstMatrixView<T> rows, Real* columns) {
  for_column_tiles<Real>(l.padded_dim, [&](Index first, auto vectors) {
    constexpr Index width = decltype(vectors)::value * lanes<Real>;
    const Index count = std::min(width, l.head_dim - first);
    Real* to = columns + first * l.padded_length;
    for (Index t = 0; t < l.length; ++t, to += width) {
      const T* row = &rows(t, first);
      for (Index j = 0; j < count; ++j) to[j] = static_cast<Real>(row[j]);
      for (Index j = count; j < width; ++j) to[j] = Real{0};
    }
    std::fill(to, to + (l.padded_length - l.length) * width, Real{0});
  });
}

/// Rows of a block of queries times `factor`: [query_block][padded_dim], zero beyond their number and width.
template <class Real, class T>
void pack_block(const HeadLayout<Real>& l, ConstMatrixView<T> rows, Real factor, Real* block) {
  for (Index i = 0; i < rows.rows; ++i, block += l.padded_dim) {
    const T* row = &rows(i, 0);
    for (Index j = 0; j < l.head_dim; ++j) block[j] = static_cast<Real>(row[j]) * factor;
    for (Index j = l.head_dim; j < l.padded_dim; ++j) block[j] = Real{0};
  }
  std::fill(block, block + (query_block - rows.rows) * l.padded_dim, Real{0});
}

/// scores[i, key] = block[i] . key for the queries first .. first + count and the keys that they see, by whole tiles.
template <class Real>
void multiply_keys(const HeadLayout<Real>& l, Index first, Index count, const Real* block, const Real* tiles,
                   Real* scores) {
  for (Index key = 0; key < first + count; key += key_tile<Real>) {
    const Index begin = std::max(key - first, Index{0}) / score_rows * score_rows;
    for (Index i = begin; i < count; i += score_rows) {
      tile_product<Real, score_rows, score_vectors, Order::rows, Result::write>(
          l.head_dim, block + i * l.padded_dim, l.padded_dim, tiles + key * l.head_dim, key_tile<Real>,
          scores + i * l.score_stride + key, l.score_stride);
    }
  }
}

/// result[i] = sum over the keys that i sees of scores[i, key] row[key], for packed columns of rows.
template <class Real>
void multiply_values(const HeadLayout<Real>& l, Index first, Index count, const Real* scores, const Real* columns,
                     Real* result) {
  for_column_tiles<Real>(l.padded_dim, [&](Index j, auto vectors) {
    constexpr int num_vectors = decltype(vectors)::value;
    for (Index i = 0; i < count; i += value_rows) {
      tile_product<Real, value_rows, num_vectors, Order::rows, Result::write>(
          std::min(first + i + value_rows, l.padded_length), scores + i * l.score_stride, l.score_stride,
          columns + j * l.padded_length, num_vectors * lanes<Real>, result + i * l.padded_dim + j, l.padded_dim);
    }
  });
}

/// sums[key] += sum over the queries i that see the key of scores[i, key] block[i]. The block that holds the key itself
/// is the first that sees it and writes.  sums: [.., padded_dim]
template <class Real>
void add_transposed(const HeadLayout<Real>& l, Index first, Index count, const Real* scores, const Real* block,
                    Real* sums) {
  const auto run = [&]<Result result>(std::integral_constant<Result, result>, Index from, Index to) {
    for (Index key = from; key < to; key += value_rows) {
      const Index begin = std::max(key - first, Index{0});
      for_column_tiles<Real>(l.padded_dim, [&](Index j, auto vectors) {
        tile_product<Real, value_rows, decltype(vectors)::value, Order::columns, result>(
            count - begin, scores + begin * l.score_stride + key, l.score_stride, block + begin * l.padded_dim + j,
            l.padded_dim, sums + key * l.padded_dim + j, l.padded_dim);
      });
    }
  };
  run(std::integral_constant<Result, Result::add>(), 0, first);
  run(std::integral_constant<Result, Result::write>(), first, first + count);
}

/// Where the computed scores of a row end, and where a block's rows of scores must be zero up to.
template <class Real>
struct RowEnds {
  Index computed, filled;
};
template <class Real>
RowEnds<Real> row_ends(Index first, Index count, Index i) {
  return {round_up(first + i + 1, key_tile<Real>), round_up(first + count, key_tile<Real>) + key_tile<Real>};
}

/// The largest of values that fill whole vectors: g++ 12 makes no vectors of a maximum that NaN may reach.
template <class Real>
Real largest_of(Index count, const Real* values) {
  auto lanewise = load<Real>(values);
  for (Index j = lanes<Real>; j < count; j += lanes<Real>) {
    const auto next = load<Real>(values + j);
    lanewise = next > lanewise ? next : lanewise;
  }
  Real largest = lanewise[0];
  for (Index lane = 1; lane < lanes<Real>; ++lane) largest = std::max(largest, static_cast<Real>(lanewise[lane]));
  return largest;
}

/// Probabilities of the first `visible` scores; the rest of the row becomes zero.
template <class Real>
void softmax(Index visible, RowEnds<Real> ends, Real* row) {
  // whole vectors: a loop over the visible ones alone would end in single numbers
  std::fill(row + visible, row + ends.computed, -std::numeric_limits<Real>::infinity());
  const Real largest = largest_of(ends.computed, row);
  Real sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index j = 0; j < ends.computed; ++j) {
    const Real e = exponential(row[j] - largest);
    row[j] = e;
    sum += e;
  }
  const Real inverse = Real{1} / sum;
#pragma omp simd
  for (Index j = 0; j < ends.computed; ++j) row[j] *= inverse;
  std::fill(row + ends.computed, row + ends.filled, Real{0});
}

}  // namespace kronlab::kernels::attention
