#include <algorithm>
#include <cmath>
#include <vector>

#include "framework/kernels/attention.hpp"
#include "framework/kernels/dispatch.hpp"

namespace kronlab::kernels {
namespace {

template <class Real>
Real dot(Index count, const Real* a, const Real* b) {
  Real sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index j = 0; j < count; ++j) sum += a[j] * b[j];
  return sum;
}

template <class Real>
void add_scaled(Index count, Real factor, const Real* x, Real* y) {
#pragma omp simd
  for (Index j = 0; j < count; ++j) y[j] += factor * x[j];
}

/// Rows [length, head_dim] of one head.
template <class T, class Real>
std::vector<Real> head_of(ConstMatrixView<T> x, Index first_row, Index first_col, Index length, Index head_dim) {
  std::vector<Real> values;
  for (Index t = 0; t < length; ++t) {
    for (Index j = 0; j < head_dim; ++j) values.push_back(static_cast<Real>(x(first_row + t, first_col + j)));
  }
  return values;
}

/// The first `count` probabilities of a query over keys [count, dim], and their logarithms.
template <class Real>
void attention_row(Index count, Index dim, const Real* query, const Real* keys, std::vector<Real>& p, std::vector<Real>& log_p) {
  Real largest = 0, sum = 0;
  for (Index j = 0; j < count; ++j) {
    const auto at = static_cast<std::size_t>(j);
    log_p[at] = dot(dim, query, keys + j * dim) / std::sqrt(static_cast<Real>(dim));
    largest = j == 0 ? log_p[at] : std::max(largest, log_p[at]);
  }
  for (Index j = 0; j < count; ++j) sum += std::exp(log_p[static_cast<std::size_t>(j)] - largest);
  for (Index j = 0; j < count; ++j) {
    const auto at = static_cast<std::size_t>(j);
    log_p[at] -= largest + std::log(sum);
    p[at] = std::exp(log_p[at]);
  }
}

template <class T, class Real>
double backward(const AttentionShape& s, ConstMatrixView<T> q, ConstMatrixView<T> k, ConstMatrixView<T> v, ConstMatrixView<T> d_out,
                MatrixView<T> dq, MatrixView<T> dk, MatrixView<T> dv, const AttentionTarget* target) {
  const Index num_heads = s.num_sequences * s.num_heads, group = s.num_heads / s.num_kv_heads, dim = s.head_dim;
  const auto size = static_cast<std::size_t>(s.length * dim);
  std::vector<Real> dks(static_cast<std::size_t>(num_heads) * size), dvs(dks.size());
  std::vector<double> divergences(static_cast<std::size_t>(num_heads));
#pragma omp parallel for schedule(dynamic)
  for (Index head = 0; head < num_heads; ++head) {
    const Index row = head / s.num_heads * s.length, column = head % s.num_heads * dim;
    const Index kv_column = head % s.num_heads / group * dim;
    const auto queries = head_of<T, Real>(q, row, column, s.length, dim), keys = head_of<T, Real>(k, row, kv_column, s.length, dim);
    const auto values = head_of<T, Real>(v, row, kv_column, s.length, dim), d_outs = head_of<T, Real>(d_out, row, column, s.length, dim);
    std::vector<Real> teacher_queries, teacher_keys;
    const Index teacher_dim = target == nullptr ? 0 : target->head_dim;
    if (target != nullptr) {
      const Index teacher_group = s.num_heads / target->num_kv_heads;
      teacher_queries = head_of<T, Real>(target->q.as<T>(), row, head % s.num_heads * teacher_dim, s.length, teacher_dim);
      teacher_keys = head_of<T, Real>(target->k.as<T>(), row, head % s.num_heads / teacher_group * teacher_dim, s.length, teacher_dim);
    }
    Real* dk_head = &dks[static_cast<std::size_t>(head) * size];
    Real* dv_head = &dvs[static_cast<std::size_t>(head) * size];
    std::vector<Real> p(static_cast<std::size_t>(s.length)), log_p(p), teacher(p), log_teacher(p), d_query(static_cast<std::size_t>(dim));
    const Real scale = Real{1} / std::sqrt(static_cast<Real>(dim));
    const Real weight = target == nullptr ? Real{0} : static_cast<Real>(target->weight / static_cast<double>(num_heads * s.length));
    for (Index i = 0; i < s.length; ++i) {
      const Real* query = &queries[static_cast<std::size_t>(i * dim)];
      const Real* dout = &d_outs[static_cast<std::size_t>(i * dim)];
      attention_row(i + 1, dim, query, keys.data(), p, log_p);
      if (target != nullptr) {
        attention_row(i + 1, teacher_dim, &teacher_queries[static_cast<std::size_t>(i * teacher_dim)], teacher_keys.data(), teacher, log_teacher);
      }
      Real mean = 0;
      for (Index j = 0; j <= i; ++j) mean += p[static_cast<std::size_t>(j)] * dot(dim, dout, &values[static_cast<std::size_t>(j * dim)]);
      std::fill(d_query.begin(), d_query.end(), Real{0});
      for (Index j = 0; j <= i; ++j) {
        const auto at = static_cast<std::size_t>(j), first = static_cast<std::size_t>(j * dim);
        Real d_score = p[at] * (dot(dim, dout, &values[first]) - mean);
        if (target != nullptr) {
          d_score += weight * (p[at] - teacher[at]);
          if (teacher[at] > 0) divergences[static_cast<std::size_t>(head)] += static_cast<double>(teacher[at]) * (log_teacher[at] - log_p[at]);
        }
        add_scaled(dim, d_score * scale, &keys[first], d_query.data());
        add_scaled(dim, d_score * scale, query, dk_head + first);
        add_scaled(dim, p[at], dout, dv_head + first);
      }
      for (Index j = 0; j < dim; ++j) dq(row + i, column + j) = static_cast<T>(d_query[static_cast<std::size_t>(j)]);
    }
  }
#pragma omp parallel for schedule(static)
  for (Index panel = 0; panel < s.num_sequences * s.num_kv_heads; ++panel) {
    const Index row = panel / s.num_kv_heads * s.length, column = panel % s.num_kv_heads * dim;
    for (Index t = 0; t < s.length; ++t) {
      for (Index j = 0; j < dim; ++j) {
        Real key = 0, value = 0;
        for (Index head = panel * group; head < (panel + 1) * group; ++head) {
          key += dks[static_cast<std::size_t>((head * s.length + t) * dim + j)];
          value += dvs[static_cast<std::size_t>((head * s.length + t) * dim + j)];
        }
        dk(row + t, column + j) = static_cast<T>(key);
        dv(row + t, column + j) = static_cast<T>(value);
      }
    }
  }
  double divergence = 0;
  for (const double d : divergences) divergence += d;
  return divergence / static_cast<double>(num_heads * s.length);
}

}  // namespace

double causal_attention_backward(const AttentionShape& shape, ConstTensorView q, ConstTensorView k, ConstTensorView v,
                                 ConstTensorView d_out, TensorView dq, TensorView dk, TensorView dv, const AttentionTarget* target) {
  const Index tokens = shape.num_sequences * shape.length;
  const Index q_cols = shape.num_heads * shape.head_dim, kv_cols = shape.num_kv_heads * shape.head_dim;
  KRONLAB_EXPECTS(shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0, "{} heads share {} key/value heads",
                  shape.num_heads, shape.num_kv_heads);
  for (const ConstTensorView x : {q, d_out, ConstTensorView(dq)}) {
    KRONLAB_EXPECTS(x.rows == tokens && x.cols == q_cols, "queries or outputs [{}, {}], expected [{}, {}]", x.rows, x.cols, tokens, q_cols);
  }
  for (const ConstTensorView x : {k, v, ConstTensorView(dk), ConstTensorView(dv)}) {
    KRONLAB_EXPECTS(x.rows == tokens && x.cols == kv_cols, "keys or values [{}, {}], expected [{}, {}]", x.rows, x.cols, tokens, kv_cols);
  }
  if (target != nullptr) {
    KRONLAB_EXPECTS(target->num_kv_heads > 0 && shape.num_heads % target->num_kv_heads == 0, "{} heads of the teacher share {} key/value heads",
                    shape.num_heads, target->num_kv_heads);
    KRONLAB_EXPECTS(target->q.rows == tokens && target->k.rows == tokens && target->q.cols == shape.num_heads * target->head_dim &&
                        target->k.cols == target->num_kv_heads * target->head_dim,
                    "the teacher's queries [{}, {}] and keys [{}, {}] for {} tokens, heads {}/{} of {}", target->q.rows, target->q.cols,
                    target->k.rows, target->k.cols, tokens, shape.num_heads, target->num_kv_heads, target->head_dim);
    KRONLAB_EXPECTS(target->q.dtype == q.dtype && target->k.dtype == q.dtype, "the teacher's queries are {}, the student's {}",
                    to_string(target->q.dtype), to_string(q.dtype));
  }
  if (tokens == 0) return 0;
  double divergence = 0;
  for_activation_type(q.dtype, [&]<class T>(T) {
    divergence = backward<T, compute_t<T>>(shape, q.as<T>(), k.as<T>(), v.as<T>(), d_out.as<T>(), dq.as<T>(), dk.as<T>(), dv.as<T>(), target);
  });
  return divergence;
}

}  // namespace kronlab::kernels
