#include "framework/kernels/attention.hpp"

#include "framework/kernels/attention_tiles.hpp"

namespace kronlab::kernels {
namespace {

using namespace attention;

/// Attention of one batch in compute type Real with activations of type T.
template <class T, class Real>
class Attention {
 public:
  Attention(const AttentionShape& shape, ConstMatrixView<T> q, ConstMatrixView<T> k, ConstMatrixView<T> v,
            MatrixView<T> out)
      : s_(shape), q_(q), k_(k), v_(v), out_(out), layout_(shape.length, shape.head_dim) {}

  void run() {
    const Index num_panels = s_.num_sequences * s_.num_kv_heads, num_heads = s_.num_sequences * s_.num_heads;
    const Index group = s_.num_heads / s_.num_kv_heads;
    const Index num_blocks = (s_.length + query_block - 1) / query_block;
    const Index panel_size = layout_.tiles_size() + layout_.columns_size();
    Tensor panels = Tensor::uninitialised(dtype_of<Real>::value, {num_panels, panel_size});
    Real* panel_data = panels.values<Real>().data();
#pragma omp parallel
    {
      Tensor scratch = Tensor::uninitialised(dtype_of<Real>::value, {2 * layout_.block_size() + layout_.scores_size()});
      Real* scratch_data = scratch.values<Real>().data();
#pragma omp for schedule(static)
      for (Index panel = 0; panel < num_panels; ++panel) pack(panel, panel_data + panel * panel_size);
#pragma omp for schedule(dynamic) collapse(2)
      for (Index reversed = 0; reversed < num_blocks; ++reversed) {
        for (Index head = 0; head < num_heads; ++head) {
          attend(head, num_blocks - 1 - reversed, panel_data + head / group * panel_size, scratch_data);
        }
      }
    }
  }

 private:
  void pack(Index panel, Real* packed) const {
    const Index row = panel / s_.num_kv_heads * s_.length, column = panel % s_.num_kv_heads * s_.head_dim;
    pack_tiles(layout_, k_.block(row, column, s_.length, s_.head_dim), packed);
    pack_columns(layout_, v_.block(row, column, s_.length, s_.head_dim), packed + layout_.tiles_size());
  }

  void attend(Index head, Index block, const Real* panel, Real* scratch) const {
    const Index first = block * query_block, count = std::min(query_block, s_.length - first);
    const Index row = head / s_.num_heads * s_.length + first, column = head % s_.num_heads * s_.head_dim;
    Real* queries = scratch;
    Real* result = queries + layout_.block_size();
    Real* scores = result + layout_.block_size();
    const Real scale = Real{1} / std::sqrt(static_cast<Real>(s_.head_dim));
    pack_block(layout_, q_.block(row, column, count, s_.head_dim), scale, queries);
    multiply_keys(layout_, first, count, queries, panel, scores);
    for (Index i = 0; i < count; ++i) {
      softmax(first + i + 1, row_ends<Real>(first, count, i), scores + i * layout_.score_stride);
    }
    multiply_values(layout_, first, count, scores, panel + layout_.tiles_size(), result);
    for (Index i = 0; i < count; ++i) {
      T* target = &out_(row + i, column);
      for (Index j = 0; j < s_.head_dim; ++j) target[j] = static_cast<T>(result[i * layout_.padded_dim + j]);
    }
  }

  AttentionShape s_;
  ConstMatrixView<T> q_, k_, v_;
  MatrixView<T> out_;
  HeadLayout<Real> layout_;
};

}  // namespace

void causal_attention(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v,
                      TensorView out) {
  const Index tokens = shape.num_sequences * shape.length;
  KRONLAB_EXPECTS(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0,
                  "{} heads share {} key/value heads", shape.num_heads, shape.num_kv_heads);
  KRONLAB_EXPECTS(q.rows == tokens && k.rows == tokens && v.rows == tokens && out.rows == tokens,
                  "attention over {} x {} tokens: rows {}, {}, {}, {}", shape.num_sequences, shape.length, q.rows,
                  k.rows, v.rows, out.rows);
  KRONLAB_EXPECTS(q.cols == shape.num_heads * shape.head_dim && out.cols == q.cols &&
                      k.cols == shape.num_kv_heads * shape.head_dim && v.cols == k.cols,
                  "attention of {}/{} heads of {}: columns {}, {}, {}, {}", shape.num_heads, shape.num_kv_heads,
                  shape.head_dim, q.cols, k.cols, v.cols, out.cols);
  if (tokens == 0) return;
  for_activation_type(q.dtype, [&]<class T>(T) {
    Attention<T, compute_t<T>>(shape, q.as<T>(), k.as<T>(), v.as<T>(), out.as<T>()).run();
  });
}

}  // namespace kronlab::kernels
