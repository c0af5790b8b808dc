#include "framework/kernels/attention_cached.hpp"

#include <cmath>

#include "framework/kernels/row_loops.hpp"
#include "framework/kernels/vector_math.hpp"
#include "framework/tensor/scratch.hpp"

namespace kronlab::kernels {
namespace {

/// Attention with activations of type T, one query of one head at a time.
template <class T>
class CachedAttention {
 public:
  using Real = compute_t<T>;

  CachedAttention(const AttentionShape& shape, ConstMatrixView<T> q, ConstMatrixView<T> k, ConstMatrixView<T> v,
                  MatrixView<T> out)
      : s_(shape), q_(q), k_(k), v_(v), out_(out) {}

  void run() const {
#pragma omp parallel
    {
      const Scratch score_memory(1, s_.length, dtype_of<Real>::value),
          row_memory(1, s_.head_dim, dtype_of<Real>::value);
      Real* scores = score_memory.view().template as<Real>().data;
      Real* row = row_memory.view().template as<Real>().data;
#pragma omp for schedule(static) collapse(2)
      for (Index head = 0; head < s_.num_heads; ++head) {
        for (Index i = 0; i < q_.rows; ++i) {
          const Index visible = s_.length - q_.rows + i + 1;
          probabilities(head, i, visible, row, scores);
          mix(head, i, visible, scores, row);
        }
      }
    }
  }

 private:
  Index kv_column(Index head) const { return head / (s_.num_heads / s_.num_kv_heads) * s_.head_dim; }

  /// Of the first `visible` keys, from their scores; `query` is room for a row of a head.
  void probabilities(Index head, Index i, Index visible, Real* query, Real* scores) const {
    const Real scale = Real{1} / std::sqrt(static_cast<Real>(s_.head_dim));
    const T* q = &q_(i, head * s_.head_dim);
    for (Index j = 0; j < s_.head_dim; ++j) query[j] = static_cast<Real>(q[j]) * scale;
    const Index column = kv_column(head);
    for (Index t = 0; t < visible; ++t) scores[t] = dot(query, &k_(t, column));
    Real largest = scores[0];
    for (Index t = 1; t < visible; ++t) largest = std::max(largest, scores[t]);
    Real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index t = 0; t < visible; ++t) {
      scores[t] = exponential(scores[t] - largest);
      sum += scores[t];
    }
    const Real inverse = Real{1} / sum;
#pragma omp simd
    for (Index t = 0; t < visible; ++t) scores[t] *= inverse;
  }

  Real dot(const Real* query, const T* key) const {
    StripReader<T> reader;
    Real sum = 0;
    for_strips(s_.head_dim, [&](Index first, Index count) {
      sum += row_sum<Real>(
          count, [](auto a, auto b) { return a * b; }, query + first, reader(key + first, count));
    });
    return sum;
  }

  /// out = the sum of probability * value; `sums` is room for a row of a head.
  void mix(Index head, Index i, Index visible, const Real* probability, Real* sums) const {
    StripReader<T> reader;
    const Index column = kv_column(head);
    std::fill(sums, sums + s_.head_dim, Real{0});
    for (Index t = 0; t < visible; ++t) {
      for_strips(s_.head_dim, [&](Index first, Index count) {
        const Real* value = reader(&v_(t, column + first), count);
        Real* to = sums + first;
#pragma omp simd
        for (Index j = 0; j < count; ++j) to[j] += probability[t] * value[j];
      });
    }
    narrow(sums, s_.head_dim, &out_(i, head * s_.head_dim));
  }

  AttentionShape s_;
  ConstMatrixView<T> q_, k_, v_;
  MatrixView<T> out_;
};

}  // namespace

void cached_attention(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v,
                      TensorView out) {
  KRONLAB_EXPECTS(shape.num_sequences == 1, "cached attention of {} sequences", shape.num_sequences);
  KRONLAB_EXPECTS(q.rows <= shape.length && k.rows == shape.length && v.rows == shape.length && out.rows == q.rows,
                  "cached attention over {} tokens: rows {}, {}, {}, {}", shape.length, q.rows, k.rows, v.rows,
                  out.rows);
  KRONLAB_EXPECTS(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0,
                  "{} heads share {} key/value heads", shape.num_heads, shape.num_kv_heads);
  KRONLAB_EXPECTS(q.cols == shape.num_heads * shape.head_dim && out.cols == q.cols &&
                      k.cols == shape.num_kv_heads * shape.head_dim && v.cols == k.cols,
                  "cached attention of {}/{} heads of {}: columns {}, {}, {}, {}", shape.num_heads, shape.num_kv_heads,
                  shape.head_dim, q.cols, k.cols, v.cols, out.cols);
  if (q.rows == 0) return;
  for_activation_type(
      q.dtype, [&]<class T>(T) { CachedAttention<T>(shape, q.as<T>(), k.as<T>(), v.as<T>(), out.as<T>()).run(); });
}

}  // namespace kronlab::kernels
