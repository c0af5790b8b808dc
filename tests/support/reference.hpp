#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include "framework/kernels/attention.hpp"
#include "framework/kernels/kronecker.hpp"
#include "framework/tensor/tensor.hpp"

/// Slow and obviously right: what each kernel should compute, in double, one element at a time.
namespace kronlab::testing::reference {

using Doubles = Matrix<double>;

/// y = x W^T.
inline Doubles product(const Doubles& x, const Doubles& w) {
  Doubles y(x.rows(), w.rows());
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index o = 0; o < w.rows(); ++o) {
      for (Index j = 0; j < x.cols(); ++j) y(i, o) += x(i, j) * w(o, j);
    }
  }
  return y;
}

inline Doubles layer_norm(const Doubles& x, const Doubles& gain, const Doubles& bias, double epsilon) {
  Doubles y(x.rows(), x.cols());
  const auto d = static_cast<double>(x.cols());
  for (Index i = 0; i < x.rows(); ++i) {
    double mean = 0, variance = 0;
    for (const double value : x.row(i)) mean += value / d;
    for (const double value : x.row(i)) variance += (value - mean) * (value - mean) / d;
    for (Index j = 0; j < x.cols(); ++j) {
      y(i, j) = (x(i, j) - mean) / std::sqrt(variance + epsilon) * gain(0, j) + bias(0, j);
    }
  }
  return y;
}

inline Doubles rms_norm(const Doubles& x, const Doubles& gain, double epsilon) {
  Doubles y(x.rows(), x.cols());
  for (Index i = 0; i < x.rows(); ++i) {
    double mean_square = 0;
    for (const double value : x.row(i)) mean_square += value * value / static_cast<double>(x.cols());
    for (Index j = 0; j < x.cols(); ++j) y(i, j) = x(i, j) / std::sqrt(mean_square + epsilon) * gain(0, j);
  }
  return y;
}

inline double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

inline double silu(double x) { return x / (1 + std::exp(-x)); }

/// The angle of pair `pair` of a head at position t.
inline double rotary_angle(Index t, Index pair, Index head_dim, double theta) {
  return static_cast<double>(t) / std::pow(theta, 2 * static_cast<double>(pair) / static_cast<double>(head_dim));
}

/// [length, head_dim]: cosines, then sines.
inline Doubles rotary_table(Index length, Index head_dim, double theta) {
  Doubles table(length, head_dim);
  for (Index t = 0; t < length; ++t) {
    for (Index pair = 0; pair < head_dim / 2; ++pair) {
      table(t, pair) = std::cos(rotary_angle(t, pair, head_dim, theta));
      table(t, head_dim / 2 + pair) = std::sin(rotary_angle(t, pair, head_dim, theta));
    }
  }
  return table;
}

/// Every pair (i, i + head_dim / 2) of every head turned by its angle.
inline Doubles rotate(const Doubles& table, Index head_dim, Index length, const Doubles& x) {
  Doubles y(x.rows(), x.cols());
  const Index half = head_dim / 2;
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.cols(); ++j) {
      const Index within = j % head_dim, pair = within % half;
      const double cosine = table(i % length, pair), sine = table(i % length, half + pair);
      y(i, j) = within < half ? x(i, j) * cosine - x(i, j + half) * sine : x(i, j) * cosine + x(i, j - half) * sine;
    }
  }
  return y;
}

/// Row `row` of out: its query over the keys first_key .. last_key.
inline void attend(const kernels::AttentionShape& s, const Doubles& q, const Doubles& k, const Doubles& v, Index row,
                   Index first_key, Index last_key, Doubles& out) {
  for (Index head = 0; head < s.num_heads; ++head) {
    const Index column = head * s.head_dim, kv = head / (s.num_heads / s.num_kv_heads) * s.head_dim;
    std::vector<double> scores;
    for (Index key = first_key; key <= last_key; ++key) {
      double score = 0;
      for (Index j = 0; j < s.head_dim; ++j) score += q(row, column + j) * k(key, kv + j);
      scores.push_back(score / std::sqrt(static_cast<double>(s.head_dim)));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - largest);
    for (Index key = first_key; key <= last_key; ++key) {
      const double probability = std::exp(scores[static_cast<std::size_t>(key - first_key)] - largest) / sum;
      for (Index j = 0; j < s.head_dim; ++j) out(row, column + j) += probability * v(key, kv + j);
    }
  }
}

inline Doubles causal_attention(const kernels::AttentionShape& s, const Doubles& q, const Doubles& k,
                                const Doubles& v) {
  Doubles out(q.rows(), q.cols());
  for (Index row = 0; row < q.rows(); ++row) attend(s, q, k, v, row, row / s.length * s.length, row, out);
  return out;
}

/// The queries of the last positions of one sequence over all keys up to their own.
inline Doubles cached_attention(const kernels::AttentionShape& s, const Doubles& q, const Doubles& k,
                                const Doubles& v) {
  Doubles out(q.rows(), q.cols());
  for (Index row = 0; row < q.rows(); ++row) attend(s, q, k, v, row, 0, k.rows() - q.rows() + row, out);
  return out;
}

/// -log softmax(logits)[target].
inline double negative_log_likelihood(std::span<const double> logits, Index target) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum) - logits[static_cast<std::size_t>(target)];
}

}  // namespace kronlab::testing::reference
