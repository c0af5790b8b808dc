#include <algorithm>
#include <cmath>
#include <utility>

#include "decompositions/low_rank_decomposer.hpp"
#include "framework/linalg/distributed_matrix.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

/// The balanced factors U sqrt(s), sqrt(s) V.
Decomposition balanced(const linalg::Svd& svd) {
  const Index r = svd.vt.rows();
  Tensor left(DType::f32, {svd.u.rows(), r}), right(DType::f32, {r, svd.vt.cols()});
  const auto u = left.matrix<float>(), v = right.matrix<float>();
  for (Index k = 0; k < r; ++k) {
    const double root = std::sqrt(svd.singular_values[static_cast<std::size_t>(k)]);
    for (Index i = 0; i < u.rows; ++i) u(i, k) = static_cast<float>(svd.u(i, k) * root);
    for (Index j = 0; j < v.cols; ++j) v(k, j) = static_cast<float>(svd.vt(k, j) * root);
  }
  Decomposition result;
  result.factorization = std::make_unique<LowRank>(std::move(left), std::move(right));
  result.spectrum = svd.singular_values;
  result.convergence = convergence_of(svd);
  return result;
}

class SvdDecomposer final : public LowRankDecomposer {
 public:
  explicit SvdDecomposer(const SvdOptions& options) : LowRankDecomposer(options, "svd") {}

 private:
  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics&) const override {
    const auto w = to_matrix<double>(weight);
    return balanced(linalg::truncated_svd(w, truncation(layer, weight.rows, weight.cols)));
  }
  Decomposition do_decompose_distributed(const comm::Communicator& communicator, const std::string& layer,
                                         ConstMatrixView<double> own_rows, Index rows, Index cols,
                                         const LayerStatistics&) const override {
    const Index kept = truncation(layer, rows, cols);
    return balanced(
        linalg::truncated_svd(linalg::DistributedMatrix::from_rows(communicator, own_rows, rows, cols), kept));
  }
};

/// L with L L^T = M + damping mean(diag M) I for second moments M: [n, n], or for their diagonal alone.
class Root {
 public:
  Root() = default;
  /// whose: "inputs"  @throws DataError naming layer and whose if that is not positive definite
  Root(const std::string& layer, const char* whose, const Matrix<double>& moments, double damping, bool diagonal_only)
      : is_diagonal_(diagonal_only) {
    try {
      lower_ = diagonal_only ? roots_of(moments, damping) : linalg::damped_cholesky(moments, damping);
    } catch (const DataError& error) {
      throw DataError(fmt::format("layer `{}`, its {}: {}", layer, whose, error.what()));
    }
  }

  /// A L.
  Matrix<double> right_product(ConstMatrixView<double> a) const {
    Matrix<double> result(a.rows, a.cols);
    linalg::gemm(linalg::Transpose::no, a, linalg::Transpose::no, lower_.view(), 0.0, result.view());
    return result;
  }
  /// L^T A.
  Matrix<double> left_product(ConstMatrixView<double> a) const {
    if (is_diagonal_) return scaled(a, 0, false);
    Matrix<double> result(a.rows, a.cols);
    linalg::gemm(linalg::Transpose::yes, lower_.view(), linalg::Transpose::no, a, 0.0, result.view());
    return result;
  }
  /// The same for rows spread over ranks: this rank's rows of the result. Collective unless diagonal.
  Matrix<double> left_product(const comm::Communicator& communicator, ConstMatrixView<double> own_rows) const {
    if (!is_diagonal_) return linalg::product_of_rows(communicator, linalg::Transpose::yes, lower_.view(), own_rows);
    return scaled(own_rows, comm::block_range(lower_.cols(), communicator.rank(), communicator.size()).begin, false);
  }
  /// A L^-1, in place.
  void right_solve(Matrix<double>& a) const { linalg::solve_right_lower(lower_, a); }
  /// L^-T A.
  void left_solve(Matrix<double>& a) const {
    if (is_diagonal_) {
      a = scaled(a, 0, true);
    } else {
      linalg::solve_left_transposed_lower(lower_, a);
    }
  }

 private:
  /// [1, n]
  static Matrix<double> roots_of(const Matrix<double>& moments, double damping) {
    const Index n = moments.cols();
    Matrix<double> roots(1, n);
    double mean = 0;
    for (Index i = 0; i < n; ++i) mean += moments(moments.rows() == 1 ? 0 : i, i) / static_cast<double>(n);
    for (Index i = 0; i < n; ++i) {
      const double damped = moments(moments.rows() == 1 ? 0 : i, i) + damping * mean;
      if (!(damped > 0)) {
        throw DataError(
            fmt::format("second moment {} of {} is {} with damping {}, expected more than 0: gather more "
                        "tokens or damp more",
                        i, n, damped, damping));
      }
      roots(0, i) = std::sqrt(damped);
    }
    return roots;
  }
  Matrix<double> scaled(ConstMatrixView<double> a, Index first_row, bool divide) const {
    Matrix<double> result(a.rows, a.cols);
    for (Index i = 0; i < a.rows; ++i) {
      const double root = lower_(0, first_row + i);
      for (Index j = 0; j < a.cols; ++j) result(i, j) = divide ? a(i, j) / root : a(i, j) * root;
    }
    return result;
  }

  Matrix<double> lower_;
  bool is_diagonal_ = false;
};

/// Triples whose two vectors are equally long, with the same products: S may have any scale.
void equalise(linalg::Svd& svd) {
  for (Index k = 0; k < svd.vt.rows(); ++k) {
    double left = 0, right = 0;
    for (Index i = 0; i < svd.u.rows(); ++i) left += svd.u(i, k) * svd.u(i, k);
    for (const double value : svd.vt.row(k)) right += value * value;
    if (!(left > 0 && right > 0)) continue;
    const double factor = std::pow(right / left, 0.25);
    for (Index i = 0; i < svd.u.rows(); ++i) svd.u(i, k) *= factor;
    for (double& value : svd.vt.row(k)) value /= factor;
  }
}

class WhitenedSvdDecomposer final : public LowRankDecomposer {
 public:
  explicit WhitenedSvdDecomposer(const WhitenedSvdOptions& options)
      : LowRankDecomposer(options.size, "whitened-svd"), options_(options) {
    for (const auto& [name, value] :
         {std::pair{"damping", options.damping}, {"gradient_damping", options.gradient_damping}}) {
      if (!(value >= 0)) throw ConfigError(fmt::format("whitened-svd: {} is {}, expected 0 or more", name, value));
    }
    if (options.weighting == Weighting::none)
      throw ConfigError("whitened-svd: weighting is none, expected inputs or two-sided; svd has no weights");
    if (options.gradient_moments == GradientMoments::none)
      throw ConfigError("whitened-svd: gradient_moments is none, expected diagonal or full");
  }
  bool needs_input_moments() const override { return true; }
  GradientMoments needed_gradient_moments() const override {
    return is_two_sided() ? options_.gradient_moments : GradientMoments::none;
  }

 private:
  bool is_two_sided() const { return options_.weighting == Weighting::two_sided; }

  struct Roots {
    Root inputs, gradient;
  };
  Roots roots_of(const std::string& layer, const LayerStatistics& statistics) const {
    Roots roots;
    roots.inputs = Root(layer, "inputs", statistics.input_moments, options_.damping, false);
    if (is_two_sided()) {
      roots.gradient = Root(layer, "gradient", statistics.gradient_moments, options_.gradient_damping,
                            options_.gradient_moments == GradientMoments::diagonal);
    }
    return roots;
  }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight,
                             const LayerStatistics& statistics) const override {
    const auto roots = roots_of(layer, statistics);
    auto whitened = roots.inputs.right_product(to_matrix<double>(weight));
    if (is_two_sided()) whitened = roots.gradient.left_product(whitened);
    return unwhitened(linalg::truncated_svd(whitened, truncation(layer, weight.rows, weight.cols)), roots);
  }

  /// Only the columns mix in W L, so each rank whitens its own rows; K^T mixes the rows.
  Decomposition do_decompose_distributed(const comm::Communicator& communicator, const std::string& layer,
                                         ConstMatrixView<double> own_rows, Index rows, Index cols,
                                         const LayerStatistics& statistics) const override {
    const Index kept = truncation(layer, rows, cols);
    const auto roots = comm::coordinate(communicator, [&] { return roots_of(layer, statistics); });
    auto own = roots.inputs.right_product(own_rows);
    if (is_two_sided()) own = roots.gradient.left_product(communicator, own);
    return unwhitened(linalg::truncated_svd(linalg::DistributedMatrix::from_rows(communicator, own, rows, cols), kept),
                      roots);
  }

  Decomposition unwhitened(linalg::Svd svd, const Roots& roots) const {
    roots.inputs.right_solve(svd.vt);
    if (is_two_sided()) {
      roots.gradient.left_solve(svd.u);
      equalise(svd);
    }
    return balanced(svd);
  }

  WhitenedSvdOptions options_;
};

}  // namespace

std::unique_ptr<Decomposer> make_svd_decomposer(const SvdOptions& options) {
  return std::make_unique<SvdDecomposer>(options);
}

std::unique_ptr<Decomposer> make_whitened_svd_decomposer(const WhitenedSvdOptions& options) {
  return std::make_unique<WhitenedSvdDecomposer>(options);
}

}  // namespace kronlab::decompositions
