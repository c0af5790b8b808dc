#include <vector>

#include "framework/kernels/attention_tiles.hpp"

namespace kronlab::kernels {
namespace {

using namespace attention;

/// A row of scores of the teacher and the student's become probabilities. Returns KL(teacher || student):
/// sum_j t_j (log t_j - log p_j), where log p_j = score_j - largest - log sum.
template <class Real>
double softmax_pair(Index visible, RowEnds<Real> ends, Real* teacher, Real* student) {
  // finite, so that differences of two are; a quarter leaves room for the subtraction of the largest
  constexpr Real lowest = std::numeric_limits<Real>::lowest() / 4;
  std::fill(teacher + visible, teacher + ends.computed, lowest);
  std::fill(student + visible, student + ends.computed, lowest);
  const Real largest_t = largest_of(ends.computed, teacher), largest_s = largest_of(ends.computed, student);
  Real sum_t = 0, sum_s = 0, cross = 0;
#pragma omp simd reduction(+ : sum_t, sum_s, cross)
  for (Index j = 0; j < ends.computed; ++j) {
    const Real t = teacher[j] - largest_t, s = student[j] - largest_s;
    const Real e_t = exponential(t), e_s = exponential(s);
    sum_t += e_t, sum_s += e_s, cross += e_t * (t - s);
    teacher[j] = e_t, student[j] = e_s;
  }
  const Real inverse_t = Real{1} / sum_t, inverse_s = Real{1} / sum_s;
#pragma omp simd
  for (Index j = 0; j < ends.computed; ++j) teacher[j] *= inverse_t, student[j] *= inverse_s;
  std::fill(student + ends.computed, student + ends.filled, Real{0});
  return static_cast<double>(cross) / static_cast<double>(sum_t) - std::log(static_cast<double>(sum_t)) +
         std::log(static_cast<double>(sum_s));
}

/// d from gradients of probabilities to gradients of scores: d_j = p_j (d_j - sum_i p_i d_i).
template <class Real>
void softmax_backward(RowEnds<Real> ends, const Real* p, Real* d) {
  Real mean = 0;
#pragma omp simd reduction(+ : mean)
  for (Index j = 0; j < ends.computed; ++j) mean += p[j] * d[j];
#pragma omp simd
  for (Index j = 0; j < ends.computed; ++j) d[j] = p[j] * (d[j] - mean);
  std::fill(d + ends.computed, d + ends.filled, Real{0});
}

/// Gradients of one batch in compute type Real with activations of type T. A task is a query head of a sequence.
template <class T, class Real>
class Backward {
 public:
  struct Tensors {
    ConstMatrixView<T> q, k, v, d_out;
    MatrixView<T> dq, dk, dv;
  };

  Backward(const AttentionShape& shape, const Tensors& tensors, const AttentionTarget* target)
      : s_(shape),
        t_(tensors),
        layout_(shape.length, shape.head_dim),
        target_(target),
        teacher_layout_(shape.length, target == nullptr ? 0 : target->head_dim),
        panel_size_(2 * layout_.tiles_size() + layout_.columns_size()),
        sums_size_(2 * layout_.gradient_size()),
        scratch_size_(3 * layout_.block_size() + 2 * layout_.scores_size() +
                      (target == nullptr ? 0 : teacher_layout_.block_size() + teacher_layout_.scores_size())) {
    if (target == nullptr) return;
    teacher_q_ = target->q.as<T>(), teacher_k_ = target->k.as<T>();
    score_weight_ = static_cast<Real>(target->weight / static_cast<double>(num_rows()));
  }

  /// The mean divergence from the target.
  double run() {
    const Index num_panels = s_.num_sequences * s_.num_kv_heads, num_heads = s_.num_sequences * s_.num_heads;
    const Index group = s_.num_heads / s_.num_kv_heads;
    const Index num_teacher_panels = target_ == nullptr ? 0 : s_.num_sequences * target_->num_kv_heads;
    Tensor panels = buffer(num_panels * panel_size_),
           teacher_panels = buffer(num_teacher_panels * teacher_layout_.tiles_size());
    Tensor sums = buffer(group == 1 ? 0 : num_heads * sums_size_);
    Real* panel_data = data(panels);
    Real* teacher_data = data(teacher_panels);
    Real* sums_data = data(sums);
    std::vector<double> divergences(static_cast<std::size_t>(num_heads));
#pragma omp parallel
    {
      Tensor scratch = buffer(scratch_size_), own_sums = buffer(group == 1 ? sums_size_ : 0);
#pragma omp for schedule(static) nowait
      for (Index panel = 0; panel < num_panels; ++panel) pack(panel, panel_data + panel * panel_size_);
#pragma omp for schedule(static)
      for (Index panel = 0; panel < num_teacher_panels; ++panel) {
        const Index kv = target_->num_kv_heads;
        pack_tiles(teacher_layout_, head_rows(teacher_k_, panel / kv, panel % kv, target_->head_dim),
                   teacher_data + panel * teacher_layout_.tiles_size());
      }
#pragma omp for schedule(dynamic)
      for (Index head = 0; head < num_heads; ++head) {
        Real* head_sums = group == 1 ? data(own_sums) : sums_data + head * sums_size_;
        const Index teacher_panel = target_ == nullptr ? 0 : head / (s_.num_heads / target_->num_kv_heads);
        divergences[static_cast<std::size_t>(head)] =
            run_head(head, panel_data + head / group * panel_size_,
                     teacher_data + teacher_panel * teacher_layout_.tiles_size(), head_sums, data(scratch));
        if (group == 1) store_sums(head, 1, head_sums);
      }
#pragma omp for schedule(static)
      for (Index panel = 0; panel < (group == 1 ? 0 : num_panels); ++panel) {
        store_sums(panel, group, sums_data + panel * group * sums_size_);
      }
    }
    double divergence = 0;
    for (const double d : divergences) divergence += d;
    return divergence / static_cast<double>(num_rows());
  }

 private:
  static Tensor buffer(Index size) { return Tensor::uninitialised(dtype_of<Real>::value, {size}); }
  static Real* data(Tensor& tensor) { return tensor.values<Real>().data(); }

  Index num_rows() const { return s_.num_sequences * s_.num_heads * s_.length; }

  template <class View>
  View head_rows(View x, Index sequence, Index head, Index head_dim) const {
    return x.block(sequence * s_.length, head * head_dim, s_.length, head_dim);
  }

  /// Key tiles, value tiles, key columns.
  void pack(Index panel, Real* packed) const {
    const auto k = head_rows(t_.k, panel / s_.num_kv_heads, panel % s_.num_kv_heads, s_.head_dim);
    const auto v = head_rows(t_.v, panel / s_.num_kv_heads, panel % s_.num_kv_heads, s_.head_dim);
    pack_tiles(layout_, k, packed);
    pack_tiles(layout_, v, packed + layout_.tiles_size());
    pack_columns(layout_, k, packed + 2 * layout_.tiles_size());
  }

  /// Writes dq, sums the head's part of dk and dv into `sums`, and returns its sum of divergences.
  double run_head(Index head, const Real* panel, const Real* teacher_keys, Real* sums, Real* scratch) const {
    const Real* key_tiles = panel;
    const Real* value_tiles = key_tiles + layout_.tiles_size();
    const Real* key_columns = value_tiles + layout_.tiles_size();
    Real* queries = scratch;
    Real* d_out = queries + layout_.block_size();
    Real* dq = d_out + layout_.block_size();
    Real* p = dq + layout_.block_size();
    Real* d = p + layout_.scores_size();
    Real* teacher_queries = d + layout_.scores_size();
    Real* teacher_p = teacher_queries + teacher_layout_.block_size();
    const Index sequence = head / s_.num_heads, column = head % s_.num_heads;
    const Real scale = Real{1} / std::sqrt(static_cast<Real>(s_.head_dim));
    double divergence = 0;
    for (Index first = 0; first < s_.length; first += query_block) {
      const Index count = std::min(query_block, s_.length - first);
      const auto block = [&](auto x, Index head_dim) {
        return head_rows(x, sequence, column, head_dim).block(first, 0, count, head_dim);
      };
      pack_block(layout_, block(t_.q, s_.head_dim), scale, queries);
      pack_block(layout_, block(t_.d_out, s_.head_dim), Real{1}, d_out);
      multiply_keys(layout_, first, count, queries, key_tiles, p);
      multiply_keys(layout_, first, count, d_out, value_tiles, d);
      if (target_ == nullptr) {
        for (Index i = 0; i < count; ++i) {
          const auto ends = row_ends<Real>(first, count, i);
          softmax(first + i + 1, ends, p + i * layout_.score_stride);
          softmax_backward(ends, p + i * layout_.score_stride, d + i * layout_.score_stride);
        }
      } else {
        const Real teacher_scale = Real{1} / std::sqrt(static_cast<Real>(target_->head_dim));
        pack_block(teacher_layout_, block(teacher_q_, target_->head_dim), teacher_scale, teacher_queries);
        multiply_keys(teacher_layout_, first, count, teacher_queries, teacher_keys, teacher_p);
        divergence += target_rows(first, count, p, d, teacher_p);
      }
      multiply_values(layout_, first, count, d, key_columns, dq);
      store(dq, scale, block(t_.dq, s_.head_dim));
      add_transposed(layout_, first, count, d, queries, sums);
      add_transposed(layout_, first, count, p, d_out, sums + layout_.gradient_size());
    }
    return divergence;
  }

  /// From scores to probabilities p and gradients d of scores; returns the sum of the rows' divergences.
  double target_rows(Index first, Index count, Real* p, Real* d, Real* teacher_p) const {
    double divergence = 0;
    for (Index i = 0; i < count; ++i) {
      const auto ends = row_ends<Real>(first, count, i);
      Real* student = p + i * layout_.score_stride;
      Real* teacher = teacher_p + i * layout_.score_stride;
      Real* gradient = d + i * layout_.score_stride;
      divergence += softmax_pair(first + i + 1, ends, teacher, student);
      softmax_backward(ends, student, gradient);
#pragma omp simd
      for (Index j = 0; j < ends.computed; ++j) gradient[j] += score_weight_ * (student[j] - teacher[j]);
    }
    return divergence;
  }

  void store(const Real* block, Real factor, MatrixView<T> to) const {
    for (Index i = 0; i < to.rows; ++i) {
      T* row = &to(i, 0);
      for (Index j = 0; j < s_.head_dim; ++j) row[j] = static_cast<T>(block[i * layout_.padded_dim + j] * factor);
    }
  }

  /// dk and dv of a key head: the sums of the `group` query heads that share it, in their sequence.
  void store_sums(Index panel, Index group, Real* sums) const {
    for (Index head = 1; head < group; ++head) {
#pragma omp simd
      for (Index i = 0; i < sums_size_; ++i) sums[i] += sums[head * sums_size_ + i];
    }
    store(sums, Real{1}, head_rows(t_.dk, panel / s_.num_kv_heads, panel % s_.num_kv_heads, s_.head_dim));
    store(sums + layout_.gradient_size(), Real{1},
          head_rows(t_.dv, panel / s_.num_kv_heads, panel % s_.num_kv_heads, s_.head_dim));
  }

  AttentionShape s_;
  Tensors t_;
  HeadLayout<Real> layout_;
  const AttentionTarget* target_;
  HeadLayout<Real> teacher_layout_;
  Index panel_size_, sums_size_, scratch_size_;
  ConstMatrixView<T> teacher_q_, teacher_k_;
  Real score_weight_ = 0;
};

void expect_shapes(const AttentionShape& shape, const AttentionTarget& target) {
  const Index tokens = shape.num_sequences * shape.length;
  KRONLAB_EXPECTS(target.num_kv_heads > 0 && shape.num_heads % target.num_kv_heads == 0,
                  "{} heads of the teacher share {} key/value heads", shape.num_heads, target.num_kv_heads);
  KRONLAB_EXPECTS(
      target.q.rows == tokens && target.k.rows == tokens && target.q.cols == shape.num_heads * target.head_dim &&
          target.k.cols == target.num_kv_heads * target.head_dim,
      "the teacher's queries [{}, {}] and keys [{}, {}] for {} tokens, heads {}/{} of {}", target.q.rows, target.q.cols,
      target.k.rows, target.k.cols, tokens, shape.num_heads, target.num_kv_heads, target.head_dim);
}

}  // namespace

double causal_attention_backward(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v,
                                 ConstTensorView d_out, TensorView dq, TensorView dk, TensorView dv,
                                 const AttentionTarget* target) {
  const Index tokens = shape.num_sequences * shape.length;
  const Index q_cols = shape.num_heads * shape.head_dim, kv_cols = shape.num_kv_heads * shape.head_dim;
  KRONLAB_EXPECTS(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0,
                  "{} heads share {} key/value heads", shape.num_heads, shape.num_kv_heads);
  for (const ConstTensorView x : {q, d_out, ConstTensorView(dq)}) {
    KRONLAB_EXPECTS(x.rows == tokens && x.cols == q_cols, "queries or outputs [{}, {}], expected [{}, {}]", x.rows,
                    x.cols, tokens, q_cols);
  }
  for (const ConstTensorView x : {k, v, ConstTensorView(dk), ConstTensorView(dv)}) {
    KRONLAB_EXPECTS(x.rows == tokens && x.cols == kv_cols, "keys or values [{}, {}], expected [{}, {}]", x.rows, x.cols,
                    tokens, kv_cols);
  }
  if (target != nullptr) expect_shapes(shape, *target);
  if (tokens == 0) return 0;
  double divergence = 0;
  for_activation_type(q.dtype, [&]<class T>(T) {
    using Kernel = Backward<T, compute_t<T>>;
    const typename Kernel::Tensors tensors{q.as<T>(),  k.as<T>(),  v.as<T>(), d_out.as<T>(),
                                           dq.as<T>(), dk.as<T>(), dv.as<T>()};
    divergence = Kernel(shape, tensors, target).run();
  });
  return divergence;
}

}  // namespace kronlab::kernels
