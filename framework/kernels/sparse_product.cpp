#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>
#include <utility>
#include <vector>

#include "framework/kernels/sparse_rows.hpp"
#include "framework/kernels/vectors.hpp"

namespace kronlab::kernels {
namespace {

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef std::int32_t EightPlaces __attribute__((vector_size(32)));

/// For each byte of a mask: which of the next values column l takes, 8 for none.
constexpr auto places_of_byte = [] {
  std::array<std::array<std::int32_t, 8>, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::int32_t next = 0;
    for (unsigned l = 0; l < 8; ++l) table[byte][l] = (byte >> l & 1) != 0 ? next++ : 8;
  }
  return table;
}();

/// What the product reads: values in float32, x in float32.
struct Operands {
  const SparseRows& w;
  const float* values;
  const float* values_end;  ///< behind all values there are
  ConstMatrixView<float> x;
};

void store(TensorView y, Index token, Index row, float sum, bool add) {
  const auto into = [&](auto& target) { target = static_cast<std::remove_reference_t<decltype(target)>>(add ? static_cast<float>(target) + sum : sum); };
  const Index at = token * y.stride + row;
  y.dtype == DType::bf16 ? into(static_cast<bfloat16*>(y.data)[at]) : into(static_cast<float*>(y.data)[at]);
}

/// A few rows of x, one behind the other: eight columns at a time, their values moved to where the mask has bits.
class FewRows {
 public:
  /// in.x: with zeros up to a whole byte of the mask
  FewRows(const Operands& in, TensorView y, bool add) : in_(in), y_(y), add_(add) {}

  void operator()() const {
    const SparseRows& w = in_.w;
#pragma omp parallel if (w.rows * w.cols > 32768)
    {
      std::vector<float> copies;
#pragma omp for schedule(static)
      for (Index row = 0; row < w.rows; row += block_rows) {
        if (row + block_rows <= w.rows) {
          rows<block_rows>(row, copies);
        } else {
          for (Index last = row; last < w.rows; ++last) rows<1>(last, copies);
        }
      }
    }
  }

 private:
  static constexpr int block_rows = 4;

  template <int Rows>
  void rows(Index row, std::vector<float>& copies) const {
    const float* values[Rows];
    // Eight values are read where fewer may be left: the last ones of all are copied.
    const Index first = in_.w.row_starts[row], last = in_.w.row_starts[row + Rows];
    const bool is_near_end = in_.values + last + 8 > in_.values_end;
    if (is_near_end) {
      copies.assign(static_cast<std::size_t>(last - first + 8), 0.0F);
      std::copy_n(in_.values + first, last - first, copies.data());
    }
    for (int r = 0; r < Rows; ++r) {
      const Index start = in_.w.row_starts[row + r];
      values[r] = is_near_end ? copies.data() + (start - first) : in_.values + start;
    }
    Index token = 0;
    for (; token + 2 <= y_.rows; token += 2) block<Rows, 2>(row, token, values);
    if (token < y_.rows) block<Rows, 1>(row, token, values);
  }

  template <int Rows, int Tokens>
  void block(Index row, Index token, const float* const (&values)[Rows]) const {
    const Index bytes = SparseRows::mask_bytes(in_.w.cols);
    const std::uint8_t* mask = in_.w.mask + row * bytes;
    // The next rows: those beside each other here are too short for the processor to see where they go on.
    const Index ahead = std::max(Index{512}, in_.w.row_starts[row + Rows] - in_.w.row_starts[row]);
    const float* next[Rows];
    std::copy_n(values, Rows, next);
    Eight totals[Rows][Tokens] = {};
    for (Index b = 0; b < bytes; ++b) {
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const std::uint8_t byte = mask[r * bytes + b];
        const auto& places = *reinterpret_cast<const EightPlaces*>(places_of_byte[byte].data());
        const Eight weights = __builtin_shuffle(*reinterpret_cast<const Eight*>(next[r]), Eight{}, places);
        next[r] += std::popcount(byte);
        __builtin_prefetch(next[r] + ahead);
#pragma GCC unroll 8
        for (int t = 0; t < Tokens; ++t) totals[r][t] += weights * *reinterpret_cast<const Eight*>(&in_.x(token + t, 8 * b));
      }
    }
    for (int r = 0; r < Rows; ++r) {
      for (int t = 0; t < Tokens; ++t) {
        const Eight total = totals[r][t];
        const float sum = ((total[0] + total[1]) + (total[2] + total[3])) + ((total[4] + total[5]) + (total[6] + total[7]));
        store(y_, token + t, row + r, sum, add_);
      }
    }
  }

  const Operands& in_;
  TensorView y_;
  bool add_;
};

void transpose(ConstMatrixView<float> from, MatrixView<float> to) {
  constexpr Index some = 16;
  for (Index first = 0; first < from.cols; first += some) {
    for (Index i = 0; i < from.rows; ++i) {
      for (Index j = first; j < std::min(first + some, from.cols); ++j) to(j, i) = from(i, j);
    }
  }
}

/// Many rows of x, in the lanes: each value times a column of x, whose tokens lie beside each other. A tile of tokens and
/// some columns of it fit a first-level cache; the columns of the entries in those are listed once for all tiles.
class ManyRows {
 public:
  ManyRows(const Operands& in, TensorView y, bool add) : in_(in), y_(y), add_(add), num_tiles_((in.x.rows + tile - 1) / tile) {
    columns_ = Tensor::uninitialised(DType::f32, {num_tiles_ * in.w.cols, tile});
    const auto columns = columns_.matrix<float>();
#pragma omp parallel for schedule(static) collapse(2)
    for (Index i = 0; i < num_tiles_; ++i) {
      for (Index first = 0; first < in.w.cols; first += block_cols) {
        const Index num_tokens = std::min(tile, in.x.rows - i * tile), num_cols = std::min(block_cols, in.w.cols - first);
        const MatrixView<float> block = columns.block(i * in.w.cols + first, 0, num_cols, tile);
        if (num_tokens < tile) fill_zero(block);
        transpose(in.x.block(i * tile, first, num_tokens, num_cols), block);
      }
    }
  }

  void operator()() const {
    const SparseRows& w = in_.w;
#pragma omp parallel
    {
      Tensor sums = Tensor::uninitialised(DType::f32, {num_tiles_ * strip_rows, tile}), tokens = Tensor::uninitialised(DType::f32, {tile, strip_rows});
#pragma omp for schedule(dynamic)
      for (Index row = 0; row < w.rows; row += strip_rows) strip(row, std::min(strip_rows, w.rows - row), sums.matrix<float>(), tokens.matrix<float>());
    }
  }

 private:
  using Vector = typename Lanes<float>::type;
  static constexpr int tile_vectors = 4;
  static constexpr Index tile = tile_vectors * lanes<float>;  ///< rows of x
  static constexpr Index strip_rows = 64;                     ///< rows of W
  static constexpr Index block_cols = 64;

  /// Entries of a row in a block of columns.
  struct Entries {
    const float* values = nullptr;
    Index count = 0;
    std::uint8_t columns[block_cols] = {};
  };

  void strip(Index row, Index num_rows, MatrixView<float> sums, MatrixView<float> tokens) const {
    const SparseRows& w = in_.w;
    fill_zero(sums);
    const float* next[strip_rows];
    for (Index r = 0; r < num_rows; ++r) next[r] = in_.values + w.row_starts[row + r];
    std::vector<Entries> entries(static_cast<std::size_t>(num_rows + 1));  // one more, empty, beside the last of an odd number
    for (Index first = 0; first < w.cols; first += block_cols) {
      for (Index r = 0; r < num_rows; ++r) {
        Entries& of_row = entries[static_cast<std::size_t>(r)];
        list(row + r, first, of_row);
        of_row.values = next[r];
        next[r] += of_row.count;
      }
      for (Index i = 0; i < num_tiles_; ++i) {
        const float* x = columns_.matrix<float>().row(i * w.cols + first).data();
        for (Index r = 0; r < num_rows; r += 2) add_products(&entries[static_cast<std::size_t>(r)], x, &sums(i * strip_rows + r, 0));
      }
    }
    for (Index i = 0; i < num_tiles_; ++i) {
      const Index num_tokens = std::min(tile, y_.rows - i * tile);
      transpose(sums.block(i * strip_rows, 0, num_rows, num_tokens), tokens.block(0, 0, num_tokens, num_rows));
      put(tokens.block(0, 0, num_tokens, num_rows), y_.block(i * tile, row, num_tokens, num_rows));
    }
  }

  /// out (+)= sums
  void put(ConstMatrixView<float> sums, TensorView out) const {
    if (!add_) return convert(sums, out);
    const auto add_to = [&](auto to) {
      using Out = std::remove_reference_t<decltype(*to.data)>;
      for (Index t = 0; t < to.rows; ++t) {
        for (Index r = 0; r < to.cols; ++r) to(t, r) = static_cast<Out>(static_cast<float>(to(t, r)) + sums(t, r));
      }
    };
    out.dtype == DType::bf16 ? add_to(out.as<bfloat16>()) : add_to(out.as<float>());
  }

  void list(Index row, Index first, Entries& entries) const {
    const std::uint8_t* mask = in_.w.mask + row * SparseRows::mask_bytes(in_.w.cols);
    entries.count = 0;
    for (Index b = first / 8; b < std::min(first / 8 + block_cols / 8, SparseRows::mask_bytes(in_.w.cols)); ++b) {
      for (unsigned rest = mask[b]; rest != 0; rest &= rest - 1)
        entries.columns[entries.count++] = static_cast<std::uint8_t>(8 * b - first + std::countr_zero(rest));
    }
  }

  /// Two rows of sums beside each other: those of one would wait for each addition.
  static void add_products(const Entries* entries, const float* x, float* sums) {
    Vector totals[2][tile_vectors];
#pragma GCC unroll 8
    for (int v = 0; v < 2 * tile_vectors; ++v) totals[v / tile_vectors][v % tile_vectors] = load<float>(sums + v * lanes<float>);
    const auto add = [&](int r, Index k) {
      const float value = entries[r].values[k];
      const float* column = x + entries[r].columns[k] * tile;
#pragma GCC unroll 8
      for (int v = 0; v < tile_vectors; ++v) totals[r][v] += value * load<float>(column + v * lanes<float>);
    };
    const Index of_first = entries[0].count, of_second = entries[1].count, of_both = std::min(of_first, of_second);
    for (Index k = 0; k < of_both; ++k) add(0, k), add(1, k);
    for (Index k = of_both; k < of_first; ++k) add(0, k);
    for (Index k = of_both; k < of_second; ++k) add(1, k);
#pragma GCC unroll 8
    for (int v = 0; v < 2 * tile_vectors; ++v)
      *reinterpret_cast<Vector*>(sums + v * lanes<float>) = totals[v / tile_vectors][v % tile_vectors];
  }

  const Operands& in_;
  TensorView y_;
  bool add_;
  Index num_tiles_;
  Tensor columns_;  ///< [tile, cols, token within]: x, a column's tokens beside each other
};

}  // namespace

void sparse_product(const SparseRows& w, ConstTensorView values, ConstTensorView x, TensorView y, bool add) {
  KRONLAB_EXPECTS(x.cols == w.cols && y.cols == w.rows && x.rows == y.rows && values.cols >= w.end(),
                  "sparse product [{}, {}] of {} values: x [{}, {}], y [{}, {}]", w.rows, w.cols, values.cols, x.rows, x.cols, y.rows, y.cols);
  const bool is_possible = x.dtype == y.dtype ? x.dtype == DType::f32 || x.dtype == DType::bf16 : x.dtype == DType::bf16 && y.dtype == DType::f32;
  KRONLAB_EXPECTS(is_possible, "sparse product of {} into {}", to_string(x.dtype), to_string(y.dtype));
  constexpr Index many = 64, most = 1024;  // rows of x: from when on they fill lanes, and at a time
  const float* numbers = values.as<float>().data;
  for (Index first = 0; first < x.rows; first += most) {
    const Index count = std::min(most, x.rows - first);
    const ConstTensorView some = x.block(first, 0, count, x.cols);
    const TensorView out = y.block(first, 0, count, y.cols);
    Matrix<float> wide;
    const bool is_wide = count >= many && x.dtype == DType::f32;
    if (!is_wide) {
      wide = Matrix<float>(count, 8 * SparseRows::mask_bytes(w.cols));
      convert(some, wide.view().block(0, 0, count, x.cols));
    }
    const Operands in{w, numbers, numbers + values.cols, is_wide ? some.as<float>() : std::as_const(wide).view()};
    count >= many ? ManyRows(in, out, add)() : FewRows(in, out, add)();
  }
}

}  // namespace kronlab::kernels
