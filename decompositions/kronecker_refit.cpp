#include "decompositions/kronecker_refit.hpp"

#include <algorithm>
#include <utility>

#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Transpose;

Matrix<double> copy_of(const Matrix<double>& a) { return to_matrix<double>(a.view()); }

double inner_product(const Matrix<double>& a, const Matrix<double>& b) {
  double sum = 0;
  for (Index i = 0; i < a.size(); ++i) sum += a.data()[i] * b.data()[i];
  return sum;
}

/// x += factor y.
void add(Matrix<double>& x, double factor, const Matrix<double>& y) {
  for (Index i = 0; i < x.size(); ++i) x.data()[i] += factor * y.data()[i];
}

/// Steps of the preconditioned conjugate gradient method towards apply(x) = b, none of which raises x.apply(x) / 2 - b.x.
/// Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems, 1952.
template <class Apply, class Precondition>
void conjugate_gradients(Matrix<double>& x, const Matrix<double>& b, Index num_steps, const Apply& apply, const Precondition& precondition) {
  Matrix<double> residual = copy_of(b);
  add(residual, -1, apply(x));
  Matrix<double> direction = precondition(residual);
  double product = inner_product(residual, direction);
  for (Index step = 0; step < num_steps && product > 0; ++step) {
    const Matrix<double> applied = apply(direction);
    const double curvature = inner_product(direction, applied);
    if (!(curvature > 0)) return;
    const double length = product / curvature;
    add(x, length, direction);
    add(residual, -length, applied);
    Matrix<double> next = precondition(residual);
    const double next_product = inner_product(residual, next);
    add(next, next_product / product, direction);
    direction = std::move(next);
    product = next_product;
  }
}

class Refit {
 public:
  Refit(const kernels::KroneckerShape& shape, ConstMatrixView<double> w, ConstMatrixView<double> c, ConstMatrixView<double> s)
      : s_(shape), w_(w), c_(c), row_moments_(s), weighted_(metric(w)) {
    for (Index i = 0; i < w.rows; ++i) {
      for (Index j = 0; j < w.cols; ++j) energy_ += w(i, j) * weighted_(i, j);
    }
  }

  double energy() const { return energy_; }

  void solve_left(KroneckerFactors& f) const {
    const Matrix<double> system = damped(left_normal(f.right));
    const auto solve = [&](const Matrix<double>& side) { return solved(system, side); };
    const Matrix<double> side = left_side(weighted_, f.right);
    if (row_moments_.rows == 0) {
      f.left = solve(side);
      return;
    }
    const auto apply = [&](const Matrix<double>& left) { return left_side(metric(dense(left, f.right).view()), f.right); };
    conjugate_gradients(f.left, side, left_steps, apply, solve);
  }

  /// B_i[u, s] for each u from the same system M[(i,s),(j,t)] = Σ_acd A_i[a,c] C[(c,s),(d,t)] A_j[a,d].
  void solve_right(KroneckerFactors& f) const {
    const Matrix<double> system = damped(right_normal(f.left));
    const auto solve = [&](const Matrix<double>& side) { return solved(system, side); };
    const Matrix<double> side = right_side(weighted_, f.left);
    Matrix<double> rows = rows_of(f.right);
    if (row_moments_.rows == 0) {
      rows = solve(side);
    } else {
      const auto apply = [&](const Matrix<double>& x) { return right_side(metric(dense(f.left, terms_of(x)).view()), f.left); };
      conjugate_gradients(rows, side, right_steps, apply, solve);
    }
    f.right = terms_of(rows);
  }

  /// tr(S dW C dW^T) / tr(S W C W^T).
  double error(const KroneckerFactors& f) const {
    Matrix<double> difference = dense(f.left, f.right);
    for (Index i = 0; i < w_.rows; ++i) {
      for (Index j = 0; j < w_.cols; ++j) difference(i, j) = w_(i, j) - difference(i, j);
    }
    return std::max(inner_product(difference, metric(std::as_const(difference).view())) / energy_, 0.0);
  }

 private:
  static constexpr Index left_steps = 8, right_steps = 4;  // of conjugate gradients in a round

  /// S x C.
  Matrix<double> metric(ConstMatrixView<double> x) const {
    Matrix<double> result(x.rows, x.cols);
    linalg::gemm(Transpose::no, x, Transpose::no, c_, 0.0, result.view());
    if (row_moments_.rows == 0) return result;
    Matrix<double> both(x.rows, x.cols);
    linalg::gemm(Transpose::no, row_moments_, Transpose::no, std::as_const(result).view(), 0.0, both.view());
    return both;
  }

  /// Σ_k A_k ⊗ B_k.
  Matrix<double> dense(const Matrix<double>& left, const Matrix<double>& right) const {
    const Index r = s_.num_terms, n1 = s_.left_cols, m2 = s_.right_rows, n2 = s_.right_cols;
    Matrix<double> w(s_.left_rows * m2, n1 * n2);
    for (Index a = 0; a < s_.left_rows; ++a) {
      for (Index u = 0; u < m2; ++u) {
        double* to = w.view().row(a * m2 + u).data();
        for (Index i = 0; i < r; ++i) {
          const double* b = &right(i, u * n2);
          for (Index c = 0; c < n1; ++c) {
            const double factor = left(a, i * n1 + c);
            for (Index s = 0; s < n2; ++s) to[c * n2 + s] += factor * b[s];
          }
        }
      }
    }
    return w;
  }

  static Matrix<double> solved(const Matrix<double>& system, const Matrix<double>& side) {
    Matrix<double> used = copy_of(system), x = copy_of(side);
    linalg::solve_right_positive(used, x);
    return x;
  }

  /// B as the rows u of its systems: [m2, r n2], and back.
  Matrix<double> rows_of(const Matrix<double>& terms) const {
    const Index r = s_.num_terms, m2 = s_.right_rows, n2 = s_.right_cols;
    Matrix<double> rows(m2, r * n2);
    for (Index i = 0; i < r; ++i) {
      for (Index us = 0; us < m2 * n2; ++us) rows(us / n2, i * n2 + us % n2) = terms(i, us);
    }
    return rows;
  }
  Matrix<double> terms_of(const Matrix<double>& rows) const {
    const Index r = s_.num_terms, m2 = s_.right_rows, n2 = s_.right_cols;
    Matrix<double> terms(r, m2 * n2);
    for (Index i = 0; i < r; ++i) {
      for (Index us = 0; us < m2 * n2; ++us) terms(i, us) = rows(us / n2, i * n2 + us % n2);
    }
    return terms;
  }

  static Matrix<double> damped(Matrix<double> normal) {
    constexpr double damping = 1e-10;
    double mean = 0;
    for (Index i = 0; i < normal.rows(); ++i) mean += normal(i, i) / static_cast<double>(normal.rows());
    for (Index i = 0; i < normal.rows(); ++i) normal(i, i) += damping * mean;
    return normal;
  }

  /// L_u: [r n1, n] with L_u[(i,c),(c,s)] = B_i[u,s]; x: [rows, n] to x L_u^T: [rows, r n1], added to `out`.
  void contract(ConstMatrixView<double> x, const Matrix<double>& right, Index u, MatrixView<double> out) const {
    const Index r = s_.num_terms, n1 = s_.left_cols, n2 = s_.right_cols;
    for (Index row = 0; row < x.rows; ++row) {
      const double* from = x.row(row).data();
      double* to = out.row(row).data();
      for (Index i = 0; i < r; ++i) {
        const double* b = &right(i, u * n2);
        for (Index c = 0; c < n1; ++c) {
          double sum = 0;
          for (Index s = 0; s < n2; ++s) sum += from[c * n2 + s] * b[s];
          to[i * n1 + c] += sum;
        }
      }
    }
  }

  /// N = Σ_u L_u C L_u^T.
  Matrix<double> left_normal(const Matrix<double>& right) const {
    const Index k = s_.num_terms * s_.left_cols, n = c_.rows;
    Matrix<double> normal(k, k);
    for (Index u = 0; u < s_.right_rows; ++u) {
      Matrix<double> half(n, k), transposed(k, n);
      contract(c_, right, u, half);
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < k; ++j) transposed(j, i) = half(i, j);
      }
      contract(std::as_const(transposed).view(), right, u, normal);
    }
    return normal;
  }

  /// D[a,(i,c)] = Σ_us E[(a,u),(c,s)] B_i[u,s]: [m1, r n1].
  Matrix<double> left_side(const Matrix<double>& e, const Matrix<double>& right) const {
    Matrix<double> side(s_.left_rows, s_.num_terms * s_.left_cols);
    const auto all = e.view();
    for (Index u = 0; u < s_.right_rows; ++u) {
      const ConstMatrixView<double> rows(all.data + u * all.stride, s_.left_rows, all.cols, s_.right_rows * all.stride);
      contract(rows, right, u, side);
    }
    return side;
  }

  Matrix<double> right_normal(const Matrix<double>& left) const {
    const Index r = s_.num_terms, n1 = s_.left_cols, n2 = s_.right_cols;
    Matrix<double> aa(r * n1, r * n1), m(r * n2, r * n2);
    linalg::gram(left.view(), aa);
    for (Index i = 0; i < r; ++i) {
      for (Index j = 0; j < r; ++j) {
        for (Index c = 0; c < n1; ++c) {
          for (Index s = 0; s < n2; ++s) {
            const double* moments = &c_(c * n2 + s, 0);
            for (Index d = 0; d < n1; ++d) {
              const double a = aa(i * n1 + c, j * n1 + d);
              for (Index t = 0; t < n2; ++t) m(i * n2 + s, j * n2 + t) += a * moments[d * n2 + t];
            }
          }
        }
      }
    }
    return m;
  }

  /// Σ_ac A_i[a,c] E[(a,u),(c,s)]: [m2, r n2].
  Matrix<double> right_side(const Matrix<double>& e, const Matrix<double>& left) const {
    const Index r = s_.num_terms, n1 = s_.left_cols, m2 = s_.right_rows, n2 = s_.right_cols;
    Matrix<double> side(m2, r * n2);
    for (Index a = 0; a < s_.left_rows; ++a) {
      for (Index u = 0; u < m2; ++u) {
        const auto row = e.view().row(a * m2 + u);
        for (Index i = 0; i < r; ++i) {
          for (Index c = 0; c < n1; ++c) {
            const double factor = left(a, i * n1 + c);
            for (Index s = 0; s < n2; ++s) side(u, i * n2 + s) += factor * row[static_cast<std::size_t>(c * n2 + s)];
          }
        }
      }
    }
    return side;
  }

  kernels::KroneckerShape s_;
  ConstMatrixView<double> w_, c_, row_moments_;
  Matrix<double> weighted_;  ///< S W C
  double energy_ = 0.0;
};

}  // namespace

std::vector<double> refit(const kernels::KroneckerShape& shape, ConstMatrixView<double> w, ConstMatrixView<double> c,
                          ConstMatrixView<double> s, Index num_rounds, KroneckerFactors& factors) {
  KRONLAB_EXPECTS(w.rows == shape.left_rows * shape.right_rows && w.cols == shape.left_cols * shape.right_cols && c.rows == w.cols && c.cols == w.cols &&
                      (s.rows == 0 || (s.rows == w.rows && s.cols == w.rows)),
                  "a refit of [{}, {}] with moments [{}, {}] and [{}, {}]", w.rows, w.cols, c.rows, c.cols, s.rows, s.cols);
  const Refit problem(shape, w, c, s);
  if (problem.energy() <= 0) return {0.0};
  std::vector<double> errors{problem.error(factors)};
  for (Index round = 0; round < num_rounds; ++round) {
    KroneckerFactors next{copy_of(factors.left), copy_of(factors.right)};
    problem.solve_left(next);
    problem.solve_right(next);
    const double error = problem.error(next);
    if (!(error < errors.back())) break;
    factors = std::move(next);
    errors.push_back(error);
  }
  return errors;
}

}  // namespace kronlab::decompositions
