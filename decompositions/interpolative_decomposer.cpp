#include "decompositions/interpolative_decomposer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "decompositions/low_rank_decomposer.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

using linalg::Transpose;

Matrix<double> product(Transpose of_a, const Matrix<double>& a, Transpose of_b, const Matrix<double>& b) {
  Matrix<double> result(of_a == Transpose::no ? a.rows() : a.cols(), of_b == Transpose::no ? b.cols() : b.rows());
  linalg::gemm(of_a, a.view(), of_b, b.view(), 0.0, result.view());
  return result;
}

/// Elements of a set of vectors, and all vectors as combinations of these.
struct Skeleton {
  std::vector<Index> chosen;
  Matrix<double> weights;  ///< [vectors, chosen]: row i is what vector i is made of
};

/// row += factor * other
void add_scaled(std::span<double> row, double factor, std::span<const double> other) {
  for (std::size_t j = 0; j < row.size(); ++j) row[j] += factor * other[j];
}

double square_of(std::span<const double> row) {
  double sum = 0;
  for (const double value : row) sum += value * value;
  return sum;
}

/// Chooses vectors v_i whose span holds most of a target, given by the products of all vectors with it, T, and with
/// each other, N. What vector i adds is |T_i|^2 / N_ii for what is left of it, of the others and of the target once the
/// span of those before is taken away: a step of Cholesky's decomposition of N, which the pivot that adds most leads.
///
///   gram: N [n, n]    target: T [n, any]; none: the vectors themselves are the target, T = N
class GreedyChoice {
 public:
  GreedyChoice(Matrix<double> gram, Matrix<double> target) : gram_(std::move(gram)), target_(std::move(target)) {
    for (Index i = 0; i < gram_.rows(); ++i) largest_ = std::max(largest_, gram_(i, i));
  }

  Skeleton choose(Index count) && {
    const Index n = gram_.rows();
    Matrix<double> lower(n, count);
    Skeleton result;
    for (Index k = 0; k < count; ++k) {
      const Index pivot = best();
      if (pivot < 0) break;
      result.chosen.push_back(pivot);
      const double size = std::sqrt(gram_(pivot, pivot));
      for (Index i = 0; i < n; ++i) lower(i, k) = gram_(i, pivot) / size;
      take_away(pivot);
    }
    result.weights = interpolation(lower, result.chosen);
    return result;
  }

 private:
  /// -1: nothing is left but rounding.
  Index best() const {
    constexpr double rounding = 1e-14;
    Index best = -1;
    double best_gain = 0;
    for (Index i = 0; i < gram_.rows(); ++i) {
      if (!(gram_(i, i) > rounding * static_cast<double>(gram_.rows()) * largest_)) continue;
      const double gain = square_of(target().row(i)) / gram_(i, i);
      if (best < 0 || gain > best_gain) best = i, best_gain = gain;
    }
    return best;
  }

  const Matrix<double>& target() const { return target_.size() > 0 ? target_ : gram_; }

  void take_away(Index pivot) {
    const auto row = gram_.row(pivot);
    const std::vector<double> products(row.begin(), row.end());
    const double square = products[static_cast<std::size_t>(pivot)];
    if (target_.size() > 0) {
      const std::vector<double> of_pivot(target_.row(pivot).begin(), target_.row(pivot).end());
      for (Index i = 0; i < target_.rows(); ++i) {
        add_scaled(target_.row(i), -products[static_cast<std::size_t>(i)] / square, of_pivot);
      }
    }
    for (Index i = 0; i < gram_.rows(); ++i) {
      add_scaled(gram_.row(i), -products[static_cast<std::size_t>(i)] / square, products);
    }
    gram_(pivot, pivot) = 0;
  }

  /// F F_J^-1 for the lower factor F and its rows F_J of the chosen.
  static Matrix<double> interpolation(const Matrix<double>& lower, const std::vector<Index>& chosen) {
    const auto r = static_cast<Index>(chosen.size());
    Matrix<double> weights(lower.rows(), r), of_chosen(r, r);
    if (r == 0) return weights;
    for (Index i = 0; i < lower.rows(); ++i) {
      for (Index k = 0; k < r; ++k) weights(i, k) = lower(i, k);
    }
    for (Index i = 0; i < r; ++i) {
      for (Index k = 0; k <= i; ++k) of_chosen(i, k) = lower(chosen[static_cast<std::size_t>(i)], k);
    }
    linalg::solve_right_lower(std::as_const(of_chosen).view(), weights.view());
    for (Index i = 0; i < r; ++i) {  // rid of rounding
      const auto row = weights.row(chosen[static_cast<std::size_t>(i)]);
      std::ranges::fill(row, 0.0);
      row[static_cast<std::size_t>(i)] = 1.0;
    }
    return weights;
  }

  Matrix<double> gram_, target_;
  double largest_ = 0;
};

class InterpolativeDecomposer final : public LowRankDecomposer {
 public:
  explicit InterpolativeDecomposer(const InterpolativeOptions& options)
      : LowRankDecomposer(options.size, "interpolative"), options_(options) {
    if (options.weighting == Weighting::two_sided) {
      throw ConfigError("interpolative: weighting is two-sided, expected none or inputs");
    }
    if (!(options.damping >= 0)) {
      throw ConfigError(fmt::format("interpolative: damping is {}, expected 0 or more", options.damping));
    }
  }
  bool needs_input_moments() const override { return options_.weighting != Weighting::none; }
  double cost(Index rows, Index cols) const override {
    const auto k = static_cast<double>(has_columns() ? cols : rows);
    const double gram = static_cast<double>(rows) * static_cast<double>(cols) * k;
    return gram + 2 * static_cast<double>(truncation("", rows, cols)) * k * k;
  }

 private:
  bool has_columns() const { return options_.skeleton == InterpolativeOptions::Skeleton::columns; }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight,
                             const LayerStatistics& statistics) const override {
    const Index r = truncation(layer, weight.rows, weight.cols);
    const auto w = to_matrix<double>(weight);
    const Matrix<double> root = root_of(layer, statistics);
    const auto skeleton = has_columns() ? of_columns(w, root).choose(r) : of_rows(w, root).choose(r);
    Tensor left(DType::f32, {w.rows(), r}), right(DType::f32, {r, w.cols()});  // zero where fewer are needed
    const auto u = left.matrix<float>(), v = right.matrix<float>();
    for (std::size_t i = 0; i < skeleton.chosen.size(); ++i) {
      const auto k = static_cast<Index>(i);
      const Index chosen = skeleton.chosen[i];
      for (Index row = 0; row < w.rows(); ++row) {
        u(row, k) = static_cast<float>(has_columns() ? w(row, chosen) : skeleton.weights(row, k));
      }
      for (Index col = 0; col < w.cols(); ++col) {
        v(k, col) = static_cast<float>(has_columns() ? skeleton.weights(col, k) : w(chosen, col));
      }
    }
    Decomposition result;
    result.factorization = std::make_unique<LowRank>(std::move(left), std::move(right));
    return result;
  }

  /// L with L L^T = M; none without weighting.
  Matrix<double> root_of(const std::string& layer, const LayerStatistics& statistics) const {
    if (options_.weighting == Weighting::none) return {};
    try {
      return linalg::damped_cholesky(statistics.input_moments.view(), options_.damping);
    } catch (const DataError& error) {
      throw DataError(fmt::format("layer `{}`, its inputs: {}", layer, error.what()));
    }
  }

  /// Columns of W whose span holds W L: their products with it are W^T W L.
  static GreedyChoice of_columns(const Matrix<double>& w, const Matrix<double>& root) {
    auto gram = product(Transpose::yes, w, Transpose::no, w);
    auto target = root.size() > 0 ? product(Transpose::no, gram, Transpose::no, root) : Matrix<double>();
    return {std::move(gram), std::move(target)};
  }

  /// Rows of W L whose span holds W L.
  static GreedyChoice of_rows(const Matrix<double>& w, const Matrix<double>& root) {
    if (root.size() == 0) return {product(Transpose::no, w, Transpose::yes, w), {}};
    const auto whitened = product(Transpose::no, w, Transpose::no, root);
    return {product(Transpose::no, whitened, Transpose::yes, whitened), {}};
  }

  InterpolativeOptions options_;
};

}  // namespace

std::unique_ptr<Decomposer> make_interpolative_decomposer(const InterpolativeOptions& options) {
  return std::make_unique<InterpolativeDecomposer>(options);
}

}  // namespace kronlab::decompositions
