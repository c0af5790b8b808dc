#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/packed_codes.hpp"
#include "framework/kernels/packed_row.hpp"
#include "framework/kernels/row_loops.hpp"

namespace kronlab::kernels {
namespace {

/// Halves are added to each other: shorter chains than lane after lane.
float sum_of_lanes(Floats v) {
  const Floats four = v + __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7);
  const Floats two = four + __builtin_shufflevector(four, four, 2, 3, 2, 3, 2, 3, 2, 3);
  return two[0] + two[1];
}

/// W = scale code + offset in one group of one row.
struct Scale {
  float scale, offset;
};

/// What the product reads, prepared: x in float32 with zeros up to a whole chunk, scales in float32.
struct Operands {
  const PackedCodes& w;
  Matrix<float> x;                ///< [n, whole chunks]
  Matrix<float> converted;        ///< of scales in double
  ConstMatrixView<float> scales;  ///< [rows, groups]

  Scale scale(Index row, Index g) const {
    const float value = scales(row, g);
    return {value, -value * static_cast<float>(w.zeros[row * scales.cols + g])};
  }
};

/// How the groups lie to the chunks: whole chunks, or halves or quarters of one; else anywhere.
enum class Grouping { chunks = 1, halves = 2, quarters = 4, anywhere = 0 };

template <class Packing>
Grouping grouping_of(const PackedCodes& w) {
  if (w.num_groups() == 1 || w.group % Packing::chunk_cols == 0) return Grouping::chunks;
  if (2 * w.group == Packing::chunk_cols) return Grouping::halves;
  return 4 * w.group == Packing::chunk_cols ? Grouping::quarters : Grouping::anywhere;
}

/// Rows of W and of x that are multiplied with each other at once, in `num_sums` sums beside each other for each pair: eight
/// in all, for a sum alone would wait for each addition.
template <int Rows_, int Tokens_>
struct Block {
  static constexpr int Rows = Rows_, Tokens = Tokens_;
  static constexpr int num_sums = std::max(1, 8 / (Rows * Tokens));
};

/// The sums of a block, from row `row` of W and row `token` of x on.
template <class Packing, class Shape>
struct BlockSums {
  const Operands& in;
  Index row, token;
  Index prefetch_words = whole_blocks(Packing::num_chunks(in.w.cols) * Packing::chunk_words);
  Floats totals[Shape::num_sums][Shape::Rows][Shape::Tokens] = {};

  /// scale_of(s): the scale of step s.
  template <class ScaleOf>
  void add_chunk(const std::uint32_t* chunk, Index first_col, int r, ScaleOf scale_of) {
    // Rows beside each other are too short for the processor to see where they go on.
    __builtin_prefetch(chunk + prefetch_words);
    Packing::for_steps(chunk, [&](int s, Codes codes) {
      const Scale by = scale_of(s);
      const Floats values = __builtin_convertvector(codes, Floats) * by.scale + by.offset;
#pragma GCC unroll 8
      for (int t = 0; t < Shape::Tokens; ++t)
        totals[s % Shape::num_sums][r][t] += values * *reinterpret_cast<const Floats*>(&in.x(token + t, first_col + s * word_lanes));
    });
  }

  /// The blocks of rows in the next 4 KiB, at least one.
  static Index whole_blocks(Index row_words) {
    const Index block_words = Shape::Rows * row_words;
    return std::max(Index{1}, 1024 / block_words) * block_words;
  }

  float sum(int r, int t) const {
    Floats total = totals[0][r][t];
#pragma GCC unroll 8
    for (int k = 1; k < Shape::num_sums; ++k) total += totals[k][r][t];
    return sum_of_lanes(total);
  }
};

template <class Packing, class Shape>
void add_chunks(const Operands& in, BlockSums<Packing, Shape>& sums) {
  const PackedCodes& w = in.w;
  const Index num_chunks = Packing::num_chunks(w.cols), row_words = num_chunks * Packing::chunk_words;
  const Index chunks_per_group = (std::min(w.group, w.cols) + Packing::chunk_cols - 1) / Packing::chunk_cols;
  const std::uint32_t* codes = w.codes + sums.row * row_words;
  for (Index g = 0, chunk = 0; chunk < num_chunks; ++g) {
    Scale scales[Shape::Rows];
#pragma GCC unroll 8
    for (int r = 0; r < Shape::Rows; ++r) scales[r] = in.scale(sums.row + r, g);
    for (const Index end = std::min(chunk + chunks_per_group, num_chunks); chunk < end; ++chunk) {
#pragma GCC unroll 8
      for (int r = 0; r < Shape::Rows; ++r)
        sums.add_chunk(codes + r * row_words + chunk * Packing::chunk_words, chunk * Packing::chunk_cols, r, [&](int) { return scales[r]; });
    }
  }
}

/// The same where a chunk has several groups.
template <Grouping grouping, class Packing, class Shape>
void add_parts(const Operands& in, BlockSums<Packing, Shape>& sums) {
  constexpr Index parts = static_cast<Index>(grouping), steps_per_part = Packing::num_steps / parts;
  const Index num_chunks = Packing::num_chunks(in.w.cols), row_words = num_chunks * Packing::chunk_words, last_group = in.w.num_groups() - 1;
  const std::uint32_t* codes = in.w.codes + sums.row * row_words;
  for (Index chunk = 0; chunk < num_chunks; ++chunk) {
#pragma GCC unroll 8
    for (int r = 0; r < Shape::Rows; ++r) {
      Scale scales[parts];
#pragma GCC unroll 8
      for (Index g = 0; g < parts; ++g) scales[g] = in.scale(sums.row + r, std::min(chunk * parts + g, last_group));
      sums.add_chunk(codes + r * row_words + chunk * Packing::chunk_words, chunk * Packing::chunk_cols, r, [&](int s) { return scales[s / steps_per_part]; });
    }
  }
}

/// Groups that begin anywhere: a row as floats, then its products.
template <class Packing>
void dot_row(const Operands& in, Index row, float* values, float* sums) {
  const PackedCodes& w = in.w;
  unpack_floats<Packing>(w.codes + row * packed_row_words(w.bits, w.cols), w.cols, values);
  for (Index g = 0, first = 0; first < w.cols; ++g, first += w.group) {
    const float scale = in.scales(row, g), zero = static_cast<float>(w.zeros[row * in.scales.cols + g]);
    for (Index c = first; c < std::min(first + w.group, w.cols); ++c) values[c] = (values[c] - zero) * scale;
  }
  for (Index t = 0; t < in.x.rows(); ++t)
    sums[t] = row_sum<float>(w.cols, [](auto a, auto b) { return a * b; }, static_cast<const float*>(values), in.x.row(t).data());
}

void store(TensorView y, Index token, Index row, float sum, bool add) {
  const auto into = [&](auto& target) { target = static_cast<std::remove_reference_t<decltype(target)>>(add ? static_cast<float>(target) + sum : sum); };
  const Index at = token * y.stride + row;
  y.dtype == DType::bf16 ? into(static_cast<bfloat16*>(y.data)[at]) : into(static_cast<float*>(y.data)[at]);
}

template <class Packing, Grouping grouping>
struct Product {
  const Operands& in;
  TensorView y;
  bool add;

  template <class Shape>
  void block(Index row, Index token) const {
    BlockSums<Packing, Shape> sums{in, row, token};
    if constexpr (grouping == Grouping::chunks) {
      add_chunks(in, sums);
    } else {
      add_parts<grouping>(in, sums);
    }
    for (int r = 0; r < Shape::Rows; ++r) {
      for (int t = 0; t < Shape::Tokens; ++t) store(y, token + t, row + r, sums.sum(r, t), add);
    }
  }

  template <int Rows>
  void rows(Index row) const {
    Index token = 0;
    for (; token + 4 <= y.rows; token += 4) block<Block<Rows, 4>>(row, token);
    for (; token + 2 <= y.rows; token += 2) block<Block<Rows, 2>>(row, token);
    if (token < y.rows) block<Block<Rows, 1>>(row, token);
  }
};

template <class Packing, Grouping grouping>
void product(const Operands& in, TensorView y, bool add) {
  const PackedCodes& w = in.w;
  constexpr int block_rows = 4;
  const bool is_worth_threads = w.rows * w.cols > 32768;
  if constexpr (grouping == Grouping::anywhere) {
#pragma omp parallel if (is_worth_threads)
    {
      std::vector<float> values(static_cast<std::size_t>(in.x.cols())), sums(static_cast<std::size_t>(y.rows));
#pragma omp for schedule(static)
      for (Index row = 0; row < w.rows; ++row) {
        dot_row<Packing>(in, row, values.data(), sums.data());
        for (Index t = 0; t < y.rows; ++t) store(y, t, row, sums[static_cast<std::size_t>(t)], add);
      }
    }
  } else {
#pragma omp parallel for schedule(static) if (is_worth_threads)
    for (Index row = 0; row < w.rows; row += block_rows) {
      const Product<Packing, grouping> product_of{in, y, add};
      if (row + block_rows <= w.rows) {
        product_of.template rows<block_rows>(row);
      } else {
        for (Index last = row; last < w.rows; ++last) product_of.template rows<1>(last);
      }
    }
  }
}

template <class Packing>
Operands prepared(const PackedCodes& w, ConstTensorView x) {
  Operands in{w, Matrix<float>(x.rows, Packing::num_chunks(w.cols) * Packing::chunk_cols), {}, {}};
  convert(x, in.x.view().block(0, 0, x.rows, x.cols));
  if (w.scales.dtype != DType::f32) in.converted = to_matrix<float>(w.scales);
  in.scales = w.scales.dtype == DType::f32 ? w.scales.as<float>() : std::as_const(in.converted).view();
  return in;
}

}  // namespace

void packed_product(const PackedCodes& w, ConstTensorView x, TensorView y, bool add) {
  KRONLAB_EXPECTS(x.cols == w.cols && y.cols == w.rows && x.rows == y.rows, "packed product [{}, {}]: x [{}, {}], y [{}, {}]", w.rows,
                  w.cols, x.rows, x.cols, y.rows, y.cols);
  const bool is_possible = x.dtype == y.dtype ? x.dtype == DType::f32 || x.dtype == DType::bf16 : x.dtype == DType::bf16 && y.dtype == DType::f32;
  KRONLAB_EXPECTS(is_possible, "packed product of {} into {}", to_string(x.dtype), to_string(y.dtype));
  for_packing(w.bits, [&]<class Packing>(Packing) {
    const Operands in = prepared<Packing>(w, x);
    switch (grouping_of<Packing>(w)) {
      case Grouping::chunks:
        return product<Packing, Grouping::chunks>(in, y, add);
      case Grouping::halves:
        return product<Packing, Grouping::halves>(in, y, add);
      case Grouping::quarters:
        return product<Packing, Grouping::quarters>(in, y, add);
      case Grouping::anywhere:
        return product<Packing, Grouping::anywhere>(in, y, add);
    }
  });
}

}  // namespace kronlab::kernels
