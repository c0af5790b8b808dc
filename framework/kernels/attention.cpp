#include "framework/kernels/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/vector_math.hpp"

namespace kronlab::kernels {
namespace {

constexpr Index query_block = 48;  // queries whose scores a thread holds at once; a multiple of every tile height

// Tiles whose accumulators, one row of B and one element of A fit the CPU's vector registers: 32 of 64 bytes, or 16 of 32.
#ifdef __AVX512F__
constexpr int vector_bytes = 64;
constexpr int score_rows = 8, score_vectors = 2;
constexpr int value_rows = 6, value_vectors = 4;
#else
constexpr int vector_bytes = 32;
constexpr int score_rows = 6, score_vectors = 2;
constexpr int value_rows = 6, value_vectors = 2;
#endif

template <class Real>
struct Lanes {
  static constexpr Index count = vector_bytes / static_cast<Index>(sizeof(Real));
  typedef Real type __attribute__((vector_size(vector_bytes), aligned(sizeof(Real)), may_alias));
};

/// C[Rows, Vectors * lanes] = A[Rows, depth] B[depth, Vectors * lanes]; all accumulators stay in registers.
template <class Real, int Rows, int Vectors>
inline void tile_product(Index depth, const Real* a, Index a_stride, const Real* b, Index b_stride, Real* c, Index c_stride) {
  using Vector = typename Lanes<Real>::type;
  constexpr Index lanes = Lanes<Real>::count;
  Vector sum[Rows][Vectors] = {};
  for (Index k = 0; k < depth; ++k) {
    Vector row[Vectors];
    for (int v = 0; v < Vectors; ++v) row[v] = *reinterpret_cast<const Vector*>(b + k * b_stride + v * lanes);
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < Vectors; ++v) sum[r][v] += a[r * a_stride + k] * row[v];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < Vectors; ++v) *reinterpret_cast<Vector*>(c + r * c_stride + v * lanes) = sum[r][v];
  }
}

Index round_up(Index value, Index step) { return (value + step - 1) / step * step; }

/// Attention of one batch in compute type Real with activations of type T.
template <class T, class Real>
class Attention {
 public:
  Attention(const AttentionShape& shape, ConstMatrixView<T> q, ConstMatrixView<T> k, ConstMatrixView<T> v, MatrixView<T> out)
      : s_(shape), q_(q), k_(k), v_(v), out_(out), padded_length_(round_up(shape.length, key_tile)),
        padded_dim_(round_up(shape.head_dim, lanes)), panel_size_(padded_length_ * (shape.head_dim + padded_dim_)) {}

  void run() {
    const Index num_panels = s_.num_sequences * s_.num_kv_heads;
    const Index group = s_.num_heads / s_.num_kv_heads;
    const Index num_blocks = (s_.length + query_block - 1) / query_block;
    std::vector<Real> panels(static_cast<std::size_t>(num_panels * panel_size_));
#pragma omp parallel
    {
      std::vector<Real> scratch(static_cast<std::size_t>(query_block * (s_.head_dim + padded_length_ + padded_dim_)));
#pragma omp for schedule(static)
      for (Index panel = 0; panel < num_panels; ++panel) pack(panel, &panels[static_cast<std::size_t>(panel * panel_size_)]);
#pragma omp for schedule(dynamic) collapse(2)
      for (Index reversed = 0; reversed < num_blocks; ++reversed) {
        for (Index head = 0; head < num_panels * group; ++head) {
          attend(head, num_blocks - 1 - reversed, &panels[static_cast<std::size_t>(head / group * panel_size_)], scratch.data());
        }
      }
    }
  }

 private:
  static constexpr Index lanes = Lanes<Real>::count;
  static constexpr Index key_tile = score_vectors * lanes;

  /// Keys as tiles [padded_length / key_tile][head_dim][key_tile], then values as [padded_length][padded_dim].
  void pack(Index panel, Real* packed) const {
    const Index first_row = panel / s_.num_kv_heads * s_.length, first_col = panel % s_.num_kv_heads * s_.head_dim;
    Real* values = packed + padded_length_ * s_.head_dim;
    for (Index t = 0; t < s_.length; ++t) {
      const T* key = &k_(first_row + t, first_col);
      const T* value = &v_(first_row + t, first_col);
      Real* tile = packed + t / key_tile * key_tile * s_.head_dim + t % key_tile;
      for (Index j = 0; j < s_.head_dim; ++j) tile[j * key_tile] = static_cast<Real>(key[j]);
      for (Index j = 0; j < s_.head_dim; ++j) values[t * padded_dim_ + j] = static_cast<Real>(value[j]);
    }
  }

  void attend(Index head, Index block, const Real* panel, Real* scratch) const {
    const Index sequence = head / s_.num_heads, column = head % s_.num_heads * s_.head_dim;
    const Index first = block * query_block, count = std::min(query_block, s_.length - first);
    const Index num_keys = round_up(first + count, key_tile);
    Real* queries = scratch;
    Real* scores = queries + query_block * s_.head_dim;
    Real* result = scores + query_block * padded_length_;
    const Real scale = Real{1} / std::sqrt(static_cast<Real>(s_.head_dim));
    for (Index i = 0; i < query_block; ++i) {
      for (Index j = 0; j < s_.head_dim; ++j) {
        queries[i * s_.head_dim + j] = i < count ? static_cast<Real>(q_(sequence * s_.length + first + i, column + j)) * scale : Real{0};
      }
    }
    for (Index key = 0; key < num_keys; key += key_tile) {
      for (Index i = 0; i < query_block; i += score_rows) {
        tile_product<Real, score_rows, score_vectors>(s_.head_dim, queries + i * s_.head_dim, s_.head_dim, panel + key * s_.head_dim, key_tile,
                                 scores + i * padded_length_ + key, padded_length_);
      }
    }
    for (Index i = 0; i < query_block; ++i) softmax(std::min(first + i + 1, num_keys), num_keys, scores + i * padded_length_);
    multiply_values(num_keys, scores, panel + padded_length_ * s_.head_dim, result);
    for (Index i = 0; i < count; ++i) {
      T* target = &out_(sequence * s_.length + first + i, column);
      for (Index j = 0; j < s_.head_dim; ++j) target[j] = static_cast<T>(result[i * padded_dim_ + j]);
    }
  }

  /// Probabilities of the first `visible` scores; the rest of the row becomes zero.
  static void softmax(Index visible, Index num_keys, Real* row) {
    Real largest = -std::numeric_limits<Real>::infinity();
#pragma omp simd reduction(max : largest)
    for (Index j = 0; j < visible; ++j) largest = std::max(largest, row[j]);
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index j = 0; j < visible; ++j) {
      const Real e = exponential(row[j] - largest);
      row[j] = e;
      sum += e;
    }
    const Real inverse = Real{1} / sum;
#pragma omp simd
    for (Index j = 0; j < visible; ++j) row[j] *= inverse;
    std::fill(row + visible, row + num_keys, Real{0});
  }

  void multiply_values(Index num_keys, const Real* scores, const Real* values, Real* result) const {
    for (Index i = 0; i < query_block; i += value_rows) {
      Index j = 0;
      for (; j + value_vectors * lanes <= padded_dim_; j += value_vectors * lanes) {
        tile_product<Real, value_rows, value_vectors>(num_keys, scores + i * padded_length_, padded_length_, values + j, padded_dim_,
                                 result + i * padded_dim_ + j, padded_dim_);
      }
      for (; j < padded_dim_; j += lanes) {
        tile_product<Real, value_rows, 1>(num_keys, scores + i * padded_length_, padded_length_, values + j, padded_dim_,
                                 result + i * padded_dim_ + j, padded_dim_);
      }
    }
  }

  AttentionShape s_;
  ConstMatrixView<T> q_, k_, v_;
  MatrixView<T> out_;
  Index padded_length_, padded_dim_, panel_size_;
};

}  // namespace

void causal_attention(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v, TensorView out) {
  const Index tokens = shape.num_sequences * shape.length;
  KRONLAB_EXPECTS(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0, "{} heads share {} key/value heads",
                  shape.num_heads, shape.num_kv_heads);
  KRONLAB_EXPECTS(q.rows == tokens && k.rows == tokens && v.rows == tokens && out.rows == tokens, "attention over {} x {} tokens: rows {}, {}, {}, {}",
                  shape.num_sequences, shape.length, q.rows, k.rows, v.rows, out.rows);
  KRONLAB_EXPECTS(q.cols == shape.num_heads * shape.head_dim && out.cols == q.cols && k.cols == shape.num_kv_heads * shape.head_dim && v.cols == k.cols,
                  "attention of {}/{} heads of {}: columns {}, {}, {}, {}", shape.num_heads, shape.num_kv_heads, shape.head_dim, q.cols, k.cols, v.cols, out.cols);
  if (tokens == 0) return;
  for_activation_type(q.dtype, [&]<class T>(T) {
    Attention<T, compute_t<T>>(shape, q.as<T>(), k.as<T>(), v.as<T>(), out.as<T>()).run();
  });
}

}  // namespace kronlab::kernels
