#include "decompositions/kronecker_refit.hpp"

#include <algorithm>
#include <utility>

#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Transpose;

void multiply(Transpose ta, const Matrix<double>& a, Transpose tb, ConstMatrixView<double> b, double beta, Matrix<double>& out) {
  linalg::gemm(ta, a.view(), tb, b, beta, out.view());
}

class Refit {
 public:
  Refit(const kernels::KroneckerShape& shape, ConstMatrixView<double> w, ConstMatrixView<double> c)
      : s_(shape), c_(c), wc_(w.rows, w.cols) {
    linalg::gemm(Transpose::no, w, Transpose::no, c, 0.0, wc_.view());
    for (Index i = 0; i < w.rows; ++i) {
      for (Index j = 0; j < w.cols; ++j) energy_ += w(i, j) * wc_(i, j);
    }
  }

  double energy() const { return energy_; }

  void solve_left(KroneckerFactors& f) const {
    const Matrix<double> normal = left_normal(f.right);
    Matrix<double> system = damped(normal);
    f.left = left_side(f.right);
    linalg::solve_right_positive(system, f.left);
  }

  /// B_i[u, s] for each u from the same system M[(i,s),(j,t)] = Σ_acd A_i[a,c] C[(c,s),(d,t)] A_j[a,d].
  void solve_right(KroneckerFactors& f) const {
    const Index r = s_.num_terms, n1 = s_.left_cols, m2 = s_.right_rows, n2 = s_.right_cols;
    Matrix<double> aa(r * n1, r * n1), m(r * n2, r * n2), e(m2, r * n2);
    linalg::gram(std::as_const(f.left).view(), aa);
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
    for (Index a = 0; a < s_.left_rows; ++a) {
      for (Index u = 0; u < m2; ++u) {
        const auto row = std::as_const(wc_).view().row(a * m2 + u);
        for (Index i = 0; i < r; ++i) {
          for (Index c = 0; c < n1; ++c) {
            const double left = f.left(a, i * n1 + c);
            for (Index s = 0; s < n2; ++s) e(u, i * n2 + s) += left * row[static_cast<std::size_t>(c * n2 + s)];
          }
        }
      }
    }
    Matrix<double> system = damped(m);
    linalg::solve_right_positive(system, e);
    for (Index i = 0; i < r; ++i) {
      for (Index u = 0; u < m2; ++u) {
        for (Index s = 0; s < n2; ++s) f.right(i, u * n2 + s) = e(u, i * n2 + s);
      }
    }
  }

  /// tr(dW C dW^T) / tr(W C W^T).
  double error(const KroneckerFactors& f) const {
    const Matrix<double> normal = left_normal(f.right), side = left_side(f.right);
    Matrix<double> product(f.left.rows(), f.left.cols());
    multiply(Transpose::no, f.left, Transpose::no, normal.view(), 0.0, product);
    double sum = energy_;
    for (Index i = 0; i < product.size(); ++i) sum += f.left.data()[i] * (product.data()[i] - 2 * side.data()[i]);
    return std::max(sum / energy_, 0.0);
  }

 private:
  static Matrix<double> damped(const Matrix<double>& normal) {
    constexpr double damping = 1e-10;
    auto copy = to_matrix<double>(normal.view());
    double mean = 0;
    for (Index i = 0; i < copy.rows(); ++i) mean += copy(i, i) / static_cast<double>(copy.rows());
    for (Index i = 0; i < copy.rows(); ++i) copy(i, i) += damping * mean;
    return copy;
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

  /// D: [m1, r n1].
  Matrix<double> left_side(const Matrix<double>& right) const {
    Matrix<double> side(s_.left_rows, s_.num_terms * s_.left_cols);
    const auto wc = std::as_const(wc_).view();
    for (Index u = 0; u < s_.right_rows; ++u) {
      const ConstMatrixView<double> rows(wc.data + u * wc.stride, s_.left_rows, wc.cols, s_.right_rows * wc.stride);
      contract(rows, right, u, side);
    }
    return side;
  }

  kernels::KroneckerShape s_;
  ConstMatrixView<double> c_;
  Matrix<double> wc_;
  double energy_ = 0.0;
};

}  // namespace

std::vector<double> refit(const kernels::KroneckerShape& shape, ConstMatrixView<double> w, ConstMatrixView<double> c,
                          Index num_rounds, KroneckerFactors& factors) {
  KRONLAB_EXPECTS(w.rows == shape.left_rows * shape.right_rows && w.cols == shape.left_cols * shape.right_cols && c.rows == w.cols && c.cols == w.cols,
                  "a refit of [{}, {}] with moments [{}, {}]", w.rows, w.cols, c.rows, c.cols);
  const Refit problem(shape, w, c);
  if (problem.energy() <= 0) return {0.0};
  std::vector<double> errors{problem.error(factors)};
  for (Index round = 0; round < num_rounds; ++round) {
    KroneckerFactors next{to_matrix<double>(std::as_const(factors.left).view()), to_matrix<double>(std::as_const(factors.right).view())};
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
