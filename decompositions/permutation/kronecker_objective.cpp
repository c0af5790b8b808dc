#include "decompositions/permutation/kronecker_objective.hpp"

#include <algorithm>
#include <utility>

#include "decompositions/permutation/kronecker_moves.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
KroneckerObjective::KroneckerObjective(ConstMatrixView<double> weight, const GroupingProblem& problem)
    : weight_(weight), problem_(problem) {
  for (Index i = 0; i < weight.rows; ++i) {
    for (const double value : weight.row(i)) energy_ += value * value;
  }
}

Matrix<double> KroneckerObjective::gram(const Grouping& grouping) const {
  const Index m2 = problem_.right_rows, n2 = problem_.right_cols, n1 = weight_.cols / n2, k = m2 * n2;
  constexpr Index chunk_elements = 1 << 18;  // the rearranged weight in parts that stay in a cache
  const Index num_groups = weight_.rows / m2, groups_at_once = std::max<Index>(1, chunk_elements / (n1 * k));
  Matrix<double> part(groups_at_once * n1, k), g(k, k);
  for (Index first = 0; first < num_groups; first += groups_at_once) {
    const Index count = std::min(groups_at_once, num_groups - first);
    for (Index i = 0; i < count * m2; ++i) {
      const auto row = weight_.row(grouping.rows[static_cast<std::size_t>(first * m2 + i)]);
      double* to = part.data() + i / m2 * n1 * k + i % m2 * n2;
      const Index* column = grouping.columns.data();
      for (Index j = 0; j < n1; ++j, to += k, column += n2) {
        for (Index s = 0; s < n2; ++s) to[s] = row[static_cast<std::size_t>(column[s])];
      }
    }
    linalg::gram(std::as_const(part).view().block(0, 0, count * n1, k), g, first > 0);
  }
  return g;
}

double KroneckerObjective::value(const Grouping& grouping) const {
  if (energy_ == 0.0) return 1.0;
  const auto values = linalg::symmetric_eigen(gram(grouping)).values;
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

std::unique_ptr<AxisMoves> KroneckerObjective::moves(Axis axis, const Grouping& grouping) const {
  return make_kronecker_moves(*this, axis, grouping);
}

std::vector<double> KroneckerObjective::energies(Axis axis) const {
  std::vector<double> energies(static_cast<std::size_t>(size(axis)));
  for (Index i = 0; i < weight_.rows; ++i) {
    for (Index j = 0; j < weight_.cols; ++j) energies[static_cast<std::size_t>(axis == Axis::rows ? i : j)] += weight_(i, j) * weight_(i, j);
  }
  return energies;
}

Matrix<float> KroneckerObjective::products_with_fit(Axis axis, const Grouping& grouping) const {
  const Index m2 = problem_.right_rows, n2 = problem_.right_cols, k = m2 * n2, m = size(axis);
  const auto p = projector(gram(grouping));
  // Both with the other axis in order, so that the fit is P applied to each block of m2 x n2.
  Matrix<float> weight(weight_.rows, weight_.cols), fit(weight_.rows, weight_.cols);
  const auto at = [](const std::vector<Index>& order, Index i) { return order[static_cast<std::size_t>(i)]; };
  const bool by_rows = axis == Axis::rows;
  std::vector<double> block(static_cast<std::size_t>(k));
  for (Index i = 0; i < weight_.rows; i += m2) {
    for (Index j = 0; j < weight_.cols; j += n2) {
      for (Index u = 0; u < k; ++u) {
        const Index r = i + u / n2, c = j + u % n2;
        block[static_cast<std::size_t>(u)] = weight_(at(grouping.rows, r), at(grouping.columns, c));
        weight(by_rows ? at(grouping.rows, r) : r, by_rows ? c : at(grouping.columns, c)) = static_cast<float>(block[static_cast<std::size_t>(u)]);
      }
      for (Index u = 0; u < k; ++u) {
        double sum = 0;
        for (Index v = 0; v < k; ++v) sum += p(u, v) * block[static_cast<std::size_t>(v)];
        fit(i + u / n2, j + u % n2) = static_cast<float>(sum);
      }
    }
  }
  Matrix<float> products(m, m);
  linalg::gemm(by_rows ? linalg::Transpose::no : linalg::Transpose::yes, std::as_const(weight).view(),
               by_rows ? linalg::Transpose::yes : linalg::Transpose::no, std::as_const(fit).view(), 0.0, products.view());
  return products;
}

std::optional<PairProblem> KroneckerObjective::pair_problem() const {
  if (problem_.right_rows * problem_.right_cols != 2 || problem_.num_terms != 1) return std::nullopt;
  PairProblem pairs{problem_.right_rows == 2 ? Axis::rows : Axis::columns, {}};
  const Index m = size(pairs.axis);
  pairs.gram = Matrix<double>(m, m);
  if (pairs.axis == Axis::columns) {
    linalg::gram(weight_, pairs.gram);
  } else {
    linalg::gemm(linalg::Transpose::no, weight_, linalg::Transpose::yes, weight_, 0.0, pairs.gram.view());
  }
  return pairs;
}

}  // namespace kronlab::decompositions
