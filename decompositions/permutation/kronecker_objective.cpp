#include "decompositions/permutation/kronecker_objective.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {

KroneckerObjective::KroneckerObjective(ConstMatrixView<double> weight, const GroupingProblem& problem)
    : weight_(weight), problem_(problem) {
  for (Index i = 0; i < weight.rows; ++i) {
    for (const double value : weight.row(i)) energy_ += value * value;
  }
}

Matrix<double> KroneckerObjective::gram(const std::vector<Index>& rows, const std::vector<Index>& columns) const {
  const Index m2 = problem_.right_rows, n2 = problem_.right_cols;
  const Index n1 = weight_.cols / n2;
  Matrix<double> rearranged(weight_.rows / m2 * n1, m2 * n2);
  for (Index i = 0; i < weight_.rows; ++i) {
    const auto row = weight_.row(rows[static_cast<std::size_t>(i)]);
    for (Index j = 0; j < weight_.cols; ++j) {
      rearranged(i / m2 * n1 + j / n2, i % m2 * n2 + j % n2) =
          row[static_cast<std::size_t>(columns[static_cast<std::size_t>(j)])];
    }
  }
  Matrix<double> g(m2 * n2, m2 * n2);
  linalg::gram(std::as_const(rearranged).view(), g);
  return g;
}

double KroneckerObjective::value(const std::vector<Index>& rows, const std::vector<Index>& columns) const {
  if (energy_ == 0.0) return 1.0;
  const auto values = linalg::symmetric_eigen(gram(rows, columns)).values;
  double kept = 0;
  for (Index k = 0; k < problem_.num_terms; ++k) kept += values[values.size() - 1 - static_cast<std::size_t>(k)];
  return std::min(kept / energy_, 1.0);
}

Matrix<double> KroneckerObjective::projector(const Matrix<double>& gram) const {
  const auto eigen = linalg::symmetric_eigen(gram);
  const Index k = gram.rows();
  Matrix<double> p(k, k);
  for (Index t = k - problem_.num_terms; t < k; ++t) {
    for (Index i = 0; i < k; ++i) {
      for (Index j = 0; j < k; ++j) p(i, j) += eigen.vectors(t, i) * eigen.vectors(t, j);
    }
  }
  return p;
}

SwapEngine::SwapEngine(ConstMatrixView<double> elements, Index group, Index other_group)
    : size_(elements.rows), group_(group), other_group_(other_group) {
  const Index n1 = elements.cols / other_group;
  std::vector<Matrix<double>> parts;
  for (Index s = 0; s < other_group; ++s) {
    auto& part = parts.emplace_back(size_, n1);
    for (Index i = 0; i < size_; ++i) {
      for (Index j = 0; j < n1; ++j) part(i, j) = elements(i, j * other_group + s);
    }
  }
  Matrix<double> product(size_, size_);
  for (Index s = 0; s < other_group; ++s) {
    for (Index t = 0; t < other_group; ++t) {
      linalg::gemm(linalg::Transpose::no, std::as_const(parts[static_cast<std::size_t>(s)]).view(),
                   linalg::Transpose::yes, std::as_const(parts[static_cast<std::size_t>(t)]).view(), 0.0,
                   product.view());
      convert(std::as_const(product).view(), k_.emplace_back(size_, size_).view());
    }
  }
  for (Index uv = 0; uv < group * group; ++uv) h_.emplace_back(size_, size_);
  own_.resize(static_cast<std::size_t>(size_));
  joined_.resize(own_.size());
  gains_.resize(own_.size());
  slot_.resize(own_.size());
}

void SwapEngine::refresh(const Matrix<double>& projector, std::vector<Index> order) {
  order_ = std::move(order);
  for (std::size_t place = 0; place < order_.size(); ++place)
    slot_[static_cast<std::size_t>(order_[place])] = static_cast<Index>(place);
  float largest = 0;
  for (Index u = 0; u < group_; ++u) {
    for (Index v = 0; v < group_; ++v) {
      float* out = h_[static_cast<std::size_t>(u * group_ + v)].data();
      std::fill_n(out, size_ * size_, 0.0F);
      for (Index s = 0; s < other_group_; ++s) {
        for (Index t = 0; t < other_group_; ++t) {
          const auto p = static_cast<float>(projector(u * other_group_ + s, v * other_group_ + t));
          const float* k = k_[static_cast<std::size_t>(s * other_group_ + t)].data();
          for (Index i = 0; i < size_ * size_; ++i) out[i] += p * k[i];
        }
      }
    }
    for (Index i = 0; i < size_; ++i) largest = std::max(largest, std::abs(h(u, u)[i * size_ + i]));
  }
  noise_ = 32 * std::numeric_limits<float>::epsilon() * static_cast<float>(group_) * largest;
  for (Index g = 0; g < size_ / group_; ++g) update_own(g);
}

/// What element i adds to <P, G> at a position of a group whose other positions stay as they are.
float SwapEngine::share(Index i, Index position, Index owner_group) const {
  float crossing = 0;
  for (Index w = 0; w < group_; ++w) {
    if (w != position)
      crossing += h(position, w)[i * size_ + order_[static_cast<std::size_t>(owner_group * group_ + w)]];
  }
  return h(position, position)[i * size_ + i] + 2 * crossing;
}

void SwapEngine::update_own(Index group) {
  for (Index u = 0; u < group_; ++u) {
    const Index i = order_[static_cast<std::size_t>(group * group_ + u)];
    own_[static_cast<std::size_t>(i)] = share(i, u, group);
  }
}

const std::vector<float>& SwapEngine::gains(Index i) {
  const Index place = slot_[static_cast<std::size_t>(i)], g = place / group_, u = place % group_;
  // What each j would add in place of i, less what it adds where it is.
  for (Index j = 0; j < size_; ++j)
    joined_[static_cast<std::size_t>(j)] = h(u, u)[j * size_ + j] - own_[static_cast<std::size_t>(j)];
  for (Index w = 0; w < group_; ++w) {
    if (w == u) continue;
    const float* row = h(w, u) + order_[static_cast<std::size_t>(g * group_ + w)] * size_;
    for (Index j = 0; j < size_; ++j) joined_[static_cast<std::size_t>(j)] += 2 * row[j];
  }
  const float mine = own_[static_cast<std::size_t>(i)];
  for (Index v = 0; v < group_; ++v) {
    const float diagonal = h(v, v)[i * size_ + i] - mine;
    for (Index other = 0; other < size_ / group_; ++other) {
      const Index* members = order_.data() + other * group_;
      float crossing = 0;
      for (Index w = 0; w < group_; ++w) {
        if (w != v) crossing += h(v, w)[i * size_ + members[w]];
      }
      gains_[static_cast<std::size_t>(members[v])] =
          joined_[static_cast<std::size_t>(members[v])] + diagonal + 2 * crossing;
    }
  }
  // Inside the group the two meet each other: what the sums above count twice or not at all.
  for (Index v = 0; v < group_; ++v) {
    const Index j = order_[static_cast<std::size_t>(g * group_ + v)];
    if (v == u) {
      gains_[static_cast<std::size_t>(i)] = 0;
      continue;
    }
    float gain = h(v, v)[i * size_ + i] - h(u, u)[i * size_ + i] + h(u, u)[j * size_ + j] - h(v, v)[j * size_ + j] +
                 2 * (h(u, v)[j * size_ + i] - h(u, v)[i * size_ + j]);
    for (Index w = 0; w < group_; ++w) {
      if (w == u || w == v) continue;
      const Index x = order_[static_cast<std::size_t>(g * group_ + w)];
      gain += 2 * (h(v, w)[i * size_ + x] - h(u, w)[i * size_ + x] + h(u, w)[j * size_ + x] - h(v, w)[j * size_ + x]);
    }
    gains_[static_cast<std::size_t>(j)] = gain;
  }
  return gains_;
}

void SwapEngine::swap(Index i, Index j) {
  const Index a = slot_[static_cast<std::size_t>(i)], b = slot_[static_cast<std::size_t>(j)];
  std::swap(order_[static_cast<std::size_t>(a)], order_[static_cast<std::size_t>(b)]);
  std::swap(slot_[static_cast<std::size_t>(i)], slot_[static_cast<std::size_t>(j)]);
  update_own(a / group_);
  if (a / group_ != b / group_) update_own(b / group_);
}

}  // namespace kronlab::decompositions
