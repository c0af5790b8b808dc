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

using Vector = typename Lanes<float>::type;
constexpr Index width = lanes<float>;

/// Halves are added to each other: shorter chains than lane after lane.
float sum_of_lanes(Vector vector) {
  float sums[width];
  *reinterpret_cast<Vector*>(sums) = vector;
  for (Index half = width / 2; half > 0; half /= 2) {
    for (Index lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
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

/// How the groups lie to the chunks: a chunk lies in one group, or a step of it does, or neither.
enum class Grouping { chunk, step, any };

/// sums[r][t] of rows [row, row + Rows) of W and [token, token + Tokens) of x.
template <class Packing, Grouping grouping, int Rows, int Tokens>
void dot_block(const Operands& in, Index row, Index token, float (&sums)[Rows][Tokens]) {
  const PackedCodes& w = in.w;
  const Index num_chunks = Packing::num_chunks(w.cols), row_bytes = num_chunks * Packing::chunk_bytes;
  const Index last_group = w.num_groups() - 1;
  Vector totals[Rows][Tokens] = {};
  const auto add_chunk = [&](Index chunk, int r, const auto& scale_of) {
    Packing::for_steps(w.codes + (row + r) * row_bytes + chunk * Packing::chunk_bytes, [&](int s, IntegerLanes codes) {
      const auto [scale, offset] = scale_of(s);
      const Vector values = __builtin_convertvector(codes, Vector) * scale + offset;
      const Index first = chunk * Packing::chunk_cols + s * width;
      for (int t = 0; t < Tokens; ++t) totals[r][t] += values * load<float>(&in.x(token + t, first));
    });
  };
  if constexpr (grouping == Grouping::chunk) {
    const Index chunks_per_group = std::min(num_chunks, w.group / Packing::chunk_cols + (w.group % Packing::chunk_cols != 0));
    for (Index g = 0, chunk = 0; chunk < num_chunks; ++g) {
      Scale scales[Rows];
      for (int r = 0; r < Rows; ++r) scales[r] = in.scale(row + r, g);
      for (const Index end = std::min(chunk + chunks_per_group, num_chunks); chunk < end; ++chunk) {
        for (int r = 0; r < Rows; ++r) add_chunk(chunk, r, [&](int) { return scales[r]; });
      }
    }
  } else {
    for (Index chunk = 0; chunk < num_chunks; ++chunk) {
      for (int r = 0; r < Rows; ++r) {
        add_chunk(chunk, r, [&](int s) {
          const Index g = std::min((chunk * Packing::chunk_cols + s * width) / w.group, last_group);
          return in.scale(row + r, g);
        });
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int t = 0; t < Tokens; ++t) sums[r][t] = sum_of_lanes(totals[r][t]);
  }
}

/// Groups that begin anywhere: a row as floats, then its products.
template <class Packing>
void dot_row(const Operands& in, Index row, float* values, float* sums) {
  const PackedCodes& w = in.w;
  unpack_floats<Packing>(w.codes + row * packed_row_bytes(w.bits, w.cols), w.cols, values);
  for (Index g = 0, first = 0; first < w.cols; ++g, first += w.group) {
    const float scale = in.scales(row, g), zero = static_cast<float>(w.zeros[row * in.scales.cols + g]);
    for (Index c = first; c < std::min(first + w.group, w.cols); ++c) values[c] = (values[c] - zero) * scale;
  }
  for (Index t = 0; t < in.x.rows(); ++t)
    sums[t] = row_sum<float>(w.cols, [](auto a, auto b) { return a * b; }, static_cast<const float*>(values), in.x.row(t).data());
}

template <class Out>
void store(MatrixView<Out> y, Index token, Index row, float sum, bool add) {
  Out& target = y(token, row);
  target = static_cast<Out>(add ? static_cast<float>(target) + sum : sum);
}

template <class Packing, Grouping grouping, int Rows, class Out>
void dot_rows(const Operands& in, Index row, MatrixView<Out> y, bool add) {
  const auto block = [&]<int Tokens>(Index token, std::integral_constant<int, Tokens>) {
    float sums[Rows][Tokens];
    dot_block<Packing, grouping, Rows, Tokens>(in, row, token, sums);
    for (int r = 0; r < Rows; ++r) {
      for (int t = 0; t < Tokens; ++t) store(y, token + t, row + r, sums[r][t], add);
    }
  };
  Index token = 0;
  for (; token + 4 <= y.rows; token += 4) block(token, std::integral_constant<int, 4>());
  if (token + 2 <= y.rows) block(token, std::integral_constant<int, 2>()), token += 2;
  if (token < y.rows) block(token, std::integral_constant<int, 1>());
}

template <class Packing, Grouping grouping, class Out>
void product(const Operands& in, MatrixView<Out> y, bool add) {
  const PackedCodes& w = in.w;
  constexpr Index block_rows = 2;
  const bool is_worth_threads = w.rows * w.cols > 32768;
  if constexpr (grouping == Grouping::any) {
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
      if (row + block_rows <= w.rows) {
        dot_rows<Packing, grouping, block_rows>(in, row, y, add);
      } else {
        for (Index last = row; last < w.rows; ++last) dot_rows<Packing, grouping, 1>(in, last, y, add);
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
  KRONLAB_EXPECTS(x.dtype == DType::f32 || x.dtype == DType::bf16, "packed product of {}", to_string(x.dtype));
  for_packing(w.bits, [&]<class Packing>(Packing) {
    const Operands in = prepared<Packing>(w, x);
    const auto into = [&](auto out) {
      if (w.num_groups() == 1 || w.group % Packing::chunk_cols == 0) {
        product<Packing, Grouping::chunk>(in, out, add);
      } else if (w.group % width == 0) {
        product<Packing, Grouping::step>(in, out, add);
      } else {
        product<Packing, Grouping::any>(in, out, add);
      }
    };
    y.dtype == DType::bf16 ? into(y.as<bfloat16>()) : into(y.as<float>());
  });
}

}  // namespace kronlab::kernels
