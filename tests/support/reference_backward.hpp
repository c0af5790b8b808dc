#pragma once

#include "tests/support/reference.hpp"

/// Slow and obviously right: gradients of what reference.hpp computes, in double, one element at a time.
namespace kronlab::testing::reference {

struct NormGradient {
  Doubles dx, d_gain, d_bias;
};

/// With the normed row z = (x - mean) / s: dz_k / dx_j = (delta_jk - 1/d - z_j z_k / d) / s.
inline NormGradient layer_norm_backward(const Doubles& x, const Doubles& gain, double epsilon, const Doubles& dy) {
  const Index n = x.rows(), d = x.cols();
  Doubles ones(1, d), zeros(1, d);
  for (double& one : ones.row(0)) one = 1;
  const Doubles z = layer_norm(x, ones, zeros, epsilon);
  NormGradient g{Doubles(n, d), Doubles(1, d), Doubles(1, d)};
  const auto width = static_cast<double>(d);
  for (Index i = 0; i < n; ++i) {
    double mean = 0, variance = 0;
    for (const double value : x.row(i)) mean += value / width;
    for (const double value : x.row(i)) variance += (value - mean) * (value - mean) / width;
    for (Index j = 0; j < d; ++j) {
      g.d_gain(0, j) += dy(i, j) * z(i, j);
      g.d_bias(0, j) += dy(i, j);
      for (Index k = 0; k < d; ++k) {
        g.dx(i, j) += dy(i, k) * gain(0, k) * ((j == k ? 1 : 0) - 1 / width - z(i, j) * z(i, k) / width) /
                      std::sqrt(variance + epsilon);
      }
    }
  }
  return g;
}

/// With z = x / s: dz_k / dx_j = (delta_jk - z_j z_k / d) / s.
inline NormGradient rms_norm_backward(const Doubles& x, const Doubles& gain, double epsilon, const Doubles& dy) {
  const Index n = x.rows(), d = x.cols();
  NormGradient g{Doubles(n, d), Doubles(1, d), Doubles(1, d)};
  for (Index i = 0; i < n; ++i) {
    double mean_square = 0;
    for (const double value : x.row(i)) mean_square += value * value / static_cast<double>(d);
    const double s = std::sqrt(mean_square + epsilon);
    for (Index j = 0; j < d; ++j) {
      g.d_gain(0, j) += dy(i, j) * x(i, j) / s;
      for (Index k = 0; k < d; ++k) {
        g.dx(i, j) +=
            dy(i, k) * gain(0, k) * ((j == k ? 1 : 0) - x(i, j) * x(i, k) / (s * s * static_cast<double>(d))) / s;
      }
    }
  }
  return g;
}

inline double gelu_slope(double x) {
  const double c = std::sqrt(2 / std::numbers::pi), t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

inline double silu_slope(double x) {
  const double sigmoid = 1 / (1 + std::exp(-x));
  return sigmoid + x * sigmoid * (1 - sigmoid);
}

/// Queries and keys of heads, and how the heads share keys.
struct Scores {
  const Doubles& q;
  const Doubles& k;
  Index num_kv_heads, head_dim;
};

/// Attention probabilities of one query row and head over the keys of its sequence up to itself.
inline std::vector<double> attention_row(const kernels::AttentionShape& s, const Scores& scores, Index row,
                                         Index head) {
  const Index first = row / s.length * s.length, column = head * scores.head_dim;
  const Index kv = head / (s.num_heads / scores.num_kv_heads) * scores.head_dim;
  std::vector<double> p;
  for (Index key = first; key <= row; ++key) {
    double score = 0;
    for (Index j = 0; j < scores.head_dim; ++j) score += scores.q(row, column + j) * scores.k(key, kv + j);
    p.push_back(score / std::sqrt(static_cast<double>(scores.head_dim)));
  }
  const double largest = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& value : p) sum += value = std::exp(value - largest);
  for (double& value : p) value /= sum;
  return p;
}

/// Mean over rows and heads of KL(teacher || student) of the attention rows.
inline double attention_divergence(const kernels::AttentionShape& s, const Scores& teacher, const Scores& student) {
  double sum = 0;
  for (Index row = 0; row < student.q.rows(); ++row) {
    for (Index head = 0; head < s.num_heads; ++head) {
      const auto t = attention_row(s, teacher, row, head), p = attention_row(s, student, row, head);
      for (std::size_t j = 0; j < p.size(); ++j) sum += t[j] > 0 ? t[j] * std::log(t[j] / p[j]) : 0;
    }
  }
  return sum / static_cast<double>(student.q.rows() * s.num_heads);
}

struct AttentionGradient {
  Doubles dq, dk, dv;
};

/// With a teacher, of the loss + weight * attention_divergence.
inline AttentionGradient causal_attention_backward(const kernels::AttentionShape& s, const Doubles& q, const Doubles& k,
                                                   const Doubles& v, const Doubles& d_out,
                                                   const Scores* teacher = nullptr, double weight = 0) {
  AttentionGradient g{Doubles(q.rows(), q.cols()), Doubles(k.rows(), k.cols()), Doubles(v.rows(), v.cols())};
  const double scale = 1 / std::sqrt(static_cast<double>(s.head_dim));
  for (Index row = 0; row < q.rows(); ++row) {
    const Index first = row / s.length * s.length;
    for (Index head = 0; head < s.num_heads; ++head) {
      const Index column = head * s.head_dim, kv = head / (s.num_heads / s.num_kv_heads) * s.head_dim;
      const auto p = attention_row(s, {q, k, s.num_kv_heads, s.head_dim}, row, head);
      const auto t = teacher == nullptr ? p : attention_row(s, *teacher, row, head);
      std::vector<double> dp(p.size());
      double mean = 0;
      for (std::size_t i = 0; i < p.size(); ++i) {
        for (Index j = 0; j < s.head_dim; ++j)
          dp[i] += d_out(row, column + j) * v(first + static_cast<Index>(i), kv + j);
        mean += p[i] * dp[i];
      }
      for (std::size_t i = 0; i < p.size(); ++i) {
        const Index key = first + static_cast<Index>(i);
        const double d_score =
            p[i] * (dp[i] - mean) + weight / static_cast<double>(q.rows() * s.num_heads) * (p[i] - t[i]);
        for (Index j = 0; j < s.head_dim; ++j) {
          g.dq(row, column + j) += d_score * scale * k(key, kv + j);
          g.dk(key, kv + j) += d_score * scale * q(row, column + j);
          g.dv(key, kv + j) += p[i] * d_out(row, column + j);
        }
      }
    }
  }
  return g;
}

}  // namespace kronlab::testing::reference
