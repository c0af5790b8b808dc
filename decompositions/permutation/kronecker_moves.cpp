#include "decompositions/permutation/kronecker_moves.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "framework/linalg/gemm.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Transpose;

/// out = Σ_q c_q row_q, rows of m one after another.
void combine(const float* rows, const std::vector<float>& c, Index m, float* out) {
  const auto num_rows = static_cast<Index>(c.size());
  const auto four_at = [&](Index q, const auto& add) {
    const float *r0 = rows + q * m, *r1 = r0 + m, *r2 = r1 + m, *r3 = r2 + m, *w = c.data() + q;
    const float c0 = w[0], c1 = w[1], c2 = w[2], c3 = w[3];
#pragma omp simd
    for (Index j = 0; j < m; ++j) add(out[j], (c0 * r0[j] + c1 * r1[j]) + (c2 * r2[j] + c3 * r3[j]));
  };
  Index q = 0;
  if (num_rows >= 4) {
    four_at(0, [](float& sum, float more) { sum = more; });
    for (q = 4; q + 4 <= num_rows; q += 4) four_at(q, [](float& sum, float more) { sum += more; });
  } else {
    std::fill_n(out, m, 0.0F);
  }
  for (; q < num_rows; ++q) {
    const float *r = rows + q * m, cq = c[static_cast<std::size_t>(q)];
#pragma omp simd
    for (Index j = 0; j < m; ++j) out[j] += cq * r[j];
  }
}

/// moments(s, t) += x_s x_t over pieces of b of x.
template <Index fixed = 0>
void add_moments(std::span<const float> x, Index variable, float* moments) {
  const Index b = fixed > 0 ? fixed : variable;
  const auto n = static_cast<Index>(x.size());
  for (Index j = 0; j < n; j += b) {
    const float* piece = x.data() + j;
    for (Index s = 0; s < b; ++s) {
      for (Index t = 0; t < b; ++t) moments[s * b + t] += piece[s] * piece[t];
    }
  }
}

/// to = from^T through tiles of their own, as the strides of both may be multiples of a large power of two.
void transpose(ConstMatrixView<float> from, MatrixView<float> to) {
  constexpr Index side = 32;
  float tile[side][side];
  for (Index i0 = 0; i0 < from.rows; i0 += side) {
    const Index rows = std::min(side, from.rows - i0);
    for (Index j0 = 0; j0 < from.cols; j0 += side) {
      const Index cols = std::min(side, from.cols - j0);
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j) tile[j][i] = from(i0 + i, j0 + j);
      }
      for (Index j = 0; j < cols; ++j) std::copy_n(tile[j], rows, &to(j0 + j, i0));
    }
  }
}

/// C = A B^T, or A^T B for matrices stored transposed, by strips of C that one thread each makes: the same bits for any
/// number of threads. For A = B only the upper part is made, and mirrored.
void multiply(ConstMatrixView<float> a, ConstMatrixView<float> b, Transpose stored, MatrixView<float> c) {
  constexpr Index strip = 256;
  const bool transposed = stored == Transpose::yes, is_symmetric = a.data == b.data;
#pragma omp parallel for schedule(dynamic, 1)
  for (Index first = 0; first < c.rows; first += strip) {
    const Index count = std::min(strip, c.rows - first), from = is_symmetric ? first : 0, width = c.cols - from;
    const auto part = [&](ConstMatrixView<float> whole, Index at, Index size) {
      return transposed ? whole.block(0, at, whole.rows, size) : whole.block(at, 0, size, whole.cols);
    };
    linalg::gemm(stored, part(a, first, count), transposed ? Transpose::no : Transpose::yes, part(b, from, width), 0.0,
                 c.block(first, from, count, width));
    if (is_symmetric && first + count < c.rows) {
      const Index below = first + count, rest = c.rows - below;
      transpose(c.block(first, below, count, rest), c.block(below, first, rest, count));
    }
  }
}

/// H made by products at each refresh().
class CombinedMoves final : public KroneckerMoves {
 public:
  CombinedMoves(const KroneckerObjective& objective, Axis axis, const Grouping& grouping)
      : KroneckerMoves(objective, axis), h_(Tensor::uninitialised(DType::f32, {size(), group(), group(), size()})) {
    restart(grouping);
  }

  void restart(const Grouping& grouping) override {
    if (other_order(grouping) != other_order_) {
      other_order_ = other_order(grouping);
      elements_ = elements_in(other_order_);
      gather_moments();
    }
    set_order(grouping.of(is_by_rows() ? Axis::rows : Axis::columns));
    refresh();
  }

  void refresh() override {
    set_projector(own_gram());
    float* h = h_.values<float>().data();
    const Index m = size(), a = group();
    const auto plane = [&](Index u, Index v) { return MatrixView<float>(h + (u * a + v) * m, m, m, a * a * m); };
    const auto e = std::as_const(elements_).matrix<float>();
    if (mixed_.is_empty()) mixed_ = Tensor::uninitialised(DType::f32, {e.rows, e.cols});
    for (Index u = 0; u < a; ++u) {
      for (Index v = u + 1; v < a; ++v) {
        mix(p(u, v));
        multiply(e, std::as_const(mixed_).matrix<float>(), is_by_rows() ? Transpose::no : Transpose::yes, plane(u, v));
        transpose(plane(u, v), plane(v, u));
      }
    }
    set_shares([&](Index i) { return moments_.data() + i * other_group() * other_group(); });
  }

 private:
  /// G of the present orders, index (u, s): of this axis' positions first.
  Matrix<double> own_gram() const {
    Grouping grouping;
    grouping.of(is_by_rows() ? Axis::rows : Axis::columns) = order();
    grouping.of(is_by_rows() ? Axis::columns : Axis::rows) = other_order_;
    const auto g = objective().gram(grouping);
    if (is_by_rows()) return g;
    const Index a = group(), b = other_group();
    Matrix<double> exchanged(g.rows(), g.cols());
    for (Index i = 0; i < g.rows(); ++i) {
      for (Index j = 0; j < g.cols(); ++j) exchanged(i % a * b + i / a, j % a * b + j / a) = g(i, j);
    }
    return exchanged;
  }

  /// X(i, (j, s)) = Σ_t P[(u, s), (v, t)] E(i, (j, t)), so that H_uv = E X^T.
  void mix(const std::vector<float>& c) {
    const auto e = std::as_const(elements_).matrix<float>();
    const auto x = mixed_.matrix<float>();
    const Index b = other_group();
    if (is_by_rows()) {
#pragma omp parallel for
      for (Index i = 0; i < e.rows; ++i) {
        const float* from = e.row(i).data();
        float* to = x.row(i).data();
        for (Index j = 0; j < e.cols; j += b) {
          for (Index s = 0; s < b; ++s) {
            float sum = 0;
            for (Index t = 0; t < b; ++t) sum += c[static_cast<std::size_t>(s * b + t)] * from[j + t];
            to[j + s] = sum;
          }
        }
      }
      return;
    }
#pragma omp parallel for
    for (Index j = 0; j < e.rows; j += b) {
      for (Index s = 0; s < b; ++s) {
        combine(e.row(j).data(), {c.begin() + s * b, c.begin() + (s + 1) * b}, e.cols, x.row(j + s).data());
      }
    }
  }

  /// moments(i, (s, t)) = Σ_j E(i, (j, s)) E(i, (j, t)).
  void gather_moments() {
    const auto e = std::as_const(elements_).matrix<float>();
    const Index b = other_group();
    moments_ = Matrix<float>(size(), b * b);
    if (is_by_rows()) {
      for (Index i = 0; i < size(); ++i) {
        float* to = moments_.view().row(i).data();
        b == 4 ? add_moments<4>(e.row(i), b, to) : b == 2 ? add_moments<2>(e.row(i), b, to) : add_moments(e.row(i), b, to);
      }
      return;
    }
    for (Index j = 0; j < e.rows; j += b) {
      for (Index i = 0; i < size(); ++i) {
        for (Index st = 0; st < b * b; ++st) moments_(i, st) += e(j + st / b, i) * e(j + st % b, i);
      }
    }
  }

  float entry(Index u, Index v, Index i, Index j) const override { return h_row(u, v, i)[j]; }
  const float* row(Index u, Index v, Index i) override { return h_row(u, v, i); }
  const float* h_row(Index u, Index v, Index i) const {
    return h_.values<float>().data() + ((i * group() + u) * group() + v) * size();
  }

  std::vector<Index> other_order_;
  Tensor elements_, mixed_;  ///< E and X as elements_in() has them
  Matrix<float> moments_;    ///< K_st(i, i): [m, b b]
  Tensor h_;                 ///< H: [m, a, a, m] as (i, u, v, j)
};

/// Rows of H made from products K.
class ProductMoves final : public KroneckerMoves {
 public:
  ProductMoves(const KroneckerObjective& objective, Axis axis, const Grouping& grouping)
      : KroneckerMoves(objective, axis),
        k_(Tensor::uninitialised(DType::f32, {size(), other_group(), other_group(), size()})),
        row_(static_cast<std::size_t>(size())) {
    restart(grouping);
  }

  void restart(const Grouping& grouping) override {
    if (other_order(grouping) != other_order_) fill_products(other_order_ = other_order(grouping));
    set_order(grouping.of(is_by_rows() ? Axis::rows : Axis::columns));
    refresh();
  }

  void refresh() override {
    const Index a = group(), b = other_group(), m = size();
    Matrix<double> g(a * b, a * b);
    for (Index u = 0; u < a; ++u) {
      for (Index at = 0; at < num_groups(); ++at) {
        const float* rows = products_of(members(u)[at]);
        for (Index st = 0; st < b * b; ++st) {
          for (Index v = 0; v < a; ++v) {
            g(u * b + st / b, v * b + st % b) += static_cast<double>(rows[st * m + members(v)[at]]);
          }
        }
      }
    }
    set_projector(g);
    std::vector<float> moments(static_cast<std::size_t>(b * b));
    set_shares([&](Index i) {
      for (Index st = 0; st < b * b; ++st) moments[static_cast<std::size_t>(st)] = products_of(i)[st * m + i];
      return moments.data();
    });
  }

 private:
  void fill_products(const std::vector<Index>& other_order) {
    const Index m = size(), b = other_group(), n1 = static_cast<Index>(other_order.size()) / b;
    std::vector<Index> by_position(other_order.size());  // W_0, W_1, ... one after another
    for (std::size_t at = 0; at < other_order.size(); ++at) {
      by_position[at % static_cast<std::size_t>(b) * static_cast<std::size_t>(n1) + at / static_cast<std::size_t>(b)] = other_order[at];
    }
    const Tensor elements = elements_in(by_position);
    const auto e = elements.matrix<float>();
    const auto part = [&](Index s) { return is_by_rows() ? e.block(0, s * n1, m, n1) : e.block(s * n1, 0, n1, m); };
    float* k = k_.values<float>().data();
    const auto plane = [&](Index s, Index t) { return MatrixView<float>(k + (s * b + t) * m, m, m, b * b * m); };
    for (Index s = 0; s < b; ++s) {
      for (Index t = s; t < b; ++t) {
        multiply(part(s), part(t), is_by_rows() ? Transpose::no : Transpose::yes, plane(s, t));
        if (s != t) transpose(plane(s, t), plane(t, s));
      }
    }
  }

  float entry(Index u, Index v, Index i, Index j) const override {
    const auto& c = p(u, v);
    const float* rows = products_of(i) + j;
    float sum = 0;
    for (std::size_t st = 0; st < c.size(); ++st) sum += c[st] * rows[static_cast<Index>(st) * size()];
    return sum;
  }
  const float* row(Index u, Index v, Index i) override {
    combine(products_of(i), p(u, v), size(), row_.data());
    return row_.data();
  }
  /// Rows K_st(i, .) of one element, (s, t) after (s, t).
  const float* products_of(Index i) const { return k_.values<float>().data() + i * other_group() * other_group() * size(); }

  std::vector<Index> other_order_;
  Tensor k_;  ///< K: [m, b, b, m] as (i, s, t, j)
  std::vector<float> row_;
};

}  // namespace

std::unique_ptr<AxisMoves> make_kronecker_moves(const KroneckerObjective& objective, Axis axis, const Grouping& grouping) {
  const Index a = objective.group(axis), b = objective.group(axis == Axis::rows ? Axis::columns : Axis::rows);
  if (a * (a - 1) <= b) return std::make_unique<CombinedMoves>(objective, axis, grouping);
  return std::make_unique<ProductMoves>(objective, axis, grouping);
}

KroneckerMoves::KroneckerMoves(const KroneckerObjective& objective, Axis axis)
    : AxisMoves(objective.size(axis), objective.group(axis)),
      objective_(objective),
      axis_(axis),
      other_(objective.group(axis == Axis::rows ? Axis::columns : Axis::rows)),
      p_(static_cast<std::size_t>(group() * group()), std::vector<float>(static_cast<std::size_t>(other_ * other_))),
      diagonal_(group(), size()),
      own_(static_cast<std::size_t>(size())),
      joined_(own_.size()),
      gains_(own_.size()),
      crossing_(static_cast<std::size_t>(num_groups())) {}

Tensor KroneckerMoves::elements_in(const std::vector<Index>& other_order) const {
  const auto weight = objective_.weight();
  const Index m = size(), n = static_cast<Index>(other_order.size());
  Tensor elements = Tensor::uninitialised(DType::f32, {is_by_rows() ? m : n, is_by_rows() ? n : m});
  const auto to = elements.matrix<float>();
#pragma omp parallel for
  for (Index i = 0; i < to.rows; ++i) {
    const auto from = weight.row(is_by_rows() ? i : other_order[static_cast<std::size_t>(i)]);
    for (Index j = 0; j < to.cols; ++j) {
      to(i, j) = static_cast<float>(from[static_cast<std::size_t>(is_by_rows() ? other_order[static_cast<std::size_t>(j)] : j)]);
    }
  }
  return elements;
}

void KroneckerMoves::set_projector(const Matrix<double>& gram) {
  const auto projector = objective_.projector(gram);
  double kept = 0;
  for (Index i = 0; i < gram.size(); ++i) kept += projector.data()[i] * gram.data()[i];
  for (Index u = 0; u < group(); ++u) {
    for (Index v = 0; v < group(); ++v) {
      for (Index st = 0; st < other_ * other_; ++st) {
        p_[static_cast<std::size_t>(u * group() + v)][static_cast<std::size_t>(st)] =
            static_cast<float>(projector(u * other_ + st / other_, v * other_ + st % other_));
      }
    }
  }
  set_kept(kept);
}

template <class Moments>
void KroneckerMoves::set_shares(const Moments& moments) {
  float largest = 0;
  for (Index i = 0; i < size(); ++i) {
    const float* k = moments(i);
    for (Index u = 0; u < group(); ++u) {
      const auto& c = p(u, u);
      float sum = 0;
      for (std::size_t st = 0; st < c.size(); ++st) sum += c[st] * k[st];
      diagonal_(u, i) = sum;
      largest = std::max(largest, std::abs(sum));
    }
  }
  noise_ = 32 * std::numeric_limits<float>::epsilon() * static_cast<float>(group()) * largest;
  for (Index at = 0; at < num_groups(); ++at) update_own(at);
}

void KroneckerMoves::crossings(Index i, Index position, float* crossing) {
  std::fill_n(crossing, num_groups(), 0.0F);
  for (Index w = 0; w < group(); ++w) {
    if (w == position) continue;
    const float* from = row(position, w, i);
    const std::int32_t* x = members(w);
#pragma omp simd
    for (Index g = 0; g < num_groups(); ++g) crossing[g] += 2 * from[x[g]];
  }
}

float KroneckerMoves::share(Index i, Index position, Index owner_group) const {
  float crossing = 0;
  for (Index w = 0; w < group(); ++w) {
    if (w != position) crossing += entry(position, w, i, members(w)[owner_group]);
  }
  return diagonal_(position, i) + 2 * crossing;
}

void KroneckerMoves::update_own(Index owner_group) {
  for (Index u = 0; u < group(); ++u) {
    const Index i = members(u)[owner_group];
    own_[static_cast<std::size_t>(i)] = share(i, u, owner_group);
  }
}

void KroneckerMoves::swapped(Index element, Index other) {
  const Index first = place_of(element) % num_groups(), second = place_of(other) % num_groups();
  update_own(first);
  if (second != first) update_own(second);
}

void KroneckerMoves::reassigned(Index /*position*/) {
  for (Index g = 0; g < num_groups(); ++g) update_own(g);
}

std::span<const float> KroneckerMoves::gains(Index i) {
  const Index m = size(), place = place_of(i), g = place % num_groups(), u = place / num_groups();
  // What each j would add in place of i, less what it adds where it is.
  const float *at_u = diagonal_.data() + u * m, *own = own_.data();
  float* joined = joined_.data();
#pragma omp simd
  for (Index j = 0; j < m; ++j) joined[j] = at_u[j] - own[j];
  for (Index w = 0; w < group(); ++w) {
    if (w == u) continue;
    const float* from = row(w, u, members(w)[g]);
#pragma omp simd
    for (Index j = 0; j < m; ++j) joined[j] += 2 * from[j];
  }
  const float mine = own_[static_cast<std::size_t>(i)];
  for (Index v = 0; v < group(); ++v) {
    const float fixed = diagonal_(v, i) - mine;
    crossings(i, v, crossing_.data());
    const std::int32_t* x = members(v);
    float* gain = gains_.data() + v * num_groups();
#pragma omp simd
    for (Index other = 0; other < num_groups(); ++other) gain[other] = joined[x[other]] + (fixed + crossing_[static_cast<std::size_t>(other)]);
  }
  // Inside the group the two meet each other, which the sums above count twice or not at all.
  gains_[static_cast<std::size_t>(place)] = 0;
  for (Index v = 0; v < group(); ++v) {
    if (v == u) continue;
    const Index j = members(v)[g];
    float gain = diagonal_(v, i) - diagonal_(u, i) + diagonal_(u, j) - diagonal_(v, j) + 2 * (entry(u, v, j, i) - entry(u, v, i, j));
    for (Index w = 0; w < group(); ++w) {
      if (w == u || w == v) continue;
      const Index x = members(w)[g];
      gain += 2 * (entry(v, w, i, x) - entry(u, w, i, x) + entry(u, w, j, x) - entry(v, w, j, x));
    }
    gains_[static_cast<std::size_t>(v * num_groups() + g)] = gain;
  }
  return gains_;
}

void KroneckerMoves::worths(Index position, MatrixView<float> worth) {
  for (Index i = 0; i < num_groups(); ++i) {
    const Index element = members(position)[i];
    crossings(element, position, worth.row(i).data());
    for (float& value : worth.row(i)) value += diagonal_(position, element);
  }
}

void KroneckerMoves::pair_worths(Index i, std::span<float> worth) {
  const float *from = row(0, 1, i), *at_1 = diagonal_.data() + size(), mine = diagonal_(0, i);
  for (std::size_t j = 0; j < worth.size(); ++j) worth[j] = mine + at_1[j] + 2 * from[j];
}

}  // namespace kronlab::decompositions
