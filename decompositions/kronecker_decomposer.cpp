#include <algorithm>
#include <cmath>
#include <utility>

#include "decompositions/decomposer.hpp"
#include "decompositions/kronecker_refit.hpp"
#include "decompositions/kronecker_sum.hpp"
#include "decompositions/moment_scales.hpp"
#include "decompositions/scaled.hpp"
#include "framework/linalg/distributed_matrix.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

class KroneckerDecomposer final : public Decomposer {
 public:
  explicit KroneckerDecomposer(const KroneckerOptions& options) : options_(options) {
    if (options.num_terms < 1)
      throw ConfigError(fmt::format("kronecker: num_terms is {}, expected at least 1", options.num_terms));
    expect_any("left_rows", options.left_rows, "right_rows", options.right_rows);
    expect_any("left_cols", options.left_cols, "right_cols", options.right_cols);
    if (options.refit < 0 || options.damping < 0 || options.gradient_damping < 0) {
      throw ConfigError(fmt::format("kronecker: refit {}, damping {}, gradient_damping {}; expected at least 0", options.refit,
                                    options.damping, options.gradient_damping));
    }
    const bool refits_two_sided = options.weighting == Weighting::two_sided && options.refit > 0;
    if (options.gradient_moments == GradientMoments::full && !refits_two_sided) {
      throw ConfigError("kronecker: gradient_moments = \"full\" counts in a refit with weighting = \"two-sided\" only");
    }
    if (prunes() && (options.num_terms != 1 || needs_input_moments())) {
      throw ConfigError(fmt::format("kronecker: start = \"pruning\" has one term, no weighting and no refit; found num_terms {}, refit {}{}", options.num_terms,
                                    options.refit, options.weighting == Weighting::none ? "" : " and a weighting"));
    }
  }

  std::string_view kind() const override { return "kronecker"; }

  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    const auto shape = shape_of(layer, rows, cols);
    const Index parameters =
        shape.num_terms * (shape.left_rows * shape.left_cols + shape.right_rows * shape.right_cols) +
        (options_.weighting == Weighting::none ? 0 : cols) + (options_.weighting == Weighting::two_sided ? rows : 0);
    return {parameters, 4 * parameters};
  }

  bool needs_input_moments() const override { return options_.weighting != Weighting::none || options_.refit > 0; }
  GradientMoments needed_gradient_moments() const override {
    return options_.weighting == Weighting::two_sided ? options_.gradient_moments : GradientMoments::none;
  }

  std::map<std::string, FactorShape> factor_shapes(const std::string& layer, Index rows, Index cols) const override {
    const auto shape = shape_of(layer, rows, cols);
    if (options_.weighting != Weighting::none) return {};
    return {{"left", {shape.left_rows, shape.num_terms * shape.left_cols}}};
  }

  std::vector<FactorShape> stored_factors(const std::string& layer, Index rows, Index cols) const override {
    const auto s = shape_of(layer, rows, cols);
    return {{s.left_rows, s.num_terms * s.left_cols}, {s.num_terms * s.right_rows, s.right_cols}};
  }

  std::optional<GroupingProblem> grouping_problem(const std::string& layer, Index rows, Index cols) const override {
    const auto shape = shape_of(layer, rows, cols);
    return GroupingProblem{shape.right_rows, shape.right_cols, shape.num_terms};
  }

  std::optional<double> multiply_adds(const std::string& layer, Index rows, Index cols) const override {
    const auto shape = shape_of(layer, rows, cols);
    return std::min(KroneckerSum::cost_right_first(shape), KroneckerSum::cost_left_first(shape));
  }

  double cost(Index rows, Index cols) const override {
    const double right = static_cast<double>(options_.right_rows ? options_.right_rows : rows / options_.left_rows) *
                         static_cast<double>(options_.right_cols ? options_.right_cols : cols / options_.left_cols);
    const double short_side = std::min(right, static_cast<double>(rows * cols) / right);
    return static_cast<double>(rows * cols) * short_side * (short_side <= 64 ? 1.0 : 8.0);
  }

 private:
  static void expect_any(const char* left_name, Index left, const char* right_name, Index right) {
    if (left < 0 || right < 0 || left + right == 0) {
      throw ConfigError(fmt::format("kronecker: give {} or {} or both, at least 1; found {} and {}", left_name,
                                    right_name, left, right));
    }
  }

  /// Both extents of one axis, of which one or both are given.
  static std::pair<Index, Index> split(const std::string& layer, const char* axis, Index extent, const char* left_name,
                                       Index left, const char* right_name, Index right) {
    if (left > 0 && right > 0 && (extent % left != 0 || extent / left != right)) {
      throw ConfigError(fmt::format("kronecker: {} of `{}` ({}) are not {} ({}) x {} ({})", axis, layer, extent, left_name, left, right_name, right));
    }
    const Index given = left > 0 ? left : right;
    if (extent % given != 0) {
      throw ConfigError(fmt::format("kronecker: {} of `{}` ({}) are not divisible by {} ({})", axis, layer, extent,
                                    left > 0 ? left_name : right_name, given));
    }
    return left > 0 ? std::pair(left, extent / left) : std::pair(extent / right, right);
  }

  kernels::KroneckerShape shape_of(const std::string& layer, Index rows, Index cols) const {
    const auto [m1, m2] =
        split(layer, "rows", rows, "left_rows", options_.left_rows, "right_rows", options_.right_rows);
    const auto [n1, n2] =
        split(layer, "columns", cols, "left_cols", options_.left_cols, "right_cols", options_.right_cols);
    const kernels::KroneckerShape shape{options_.num_terms, m1, n1, m2, n2};
    const Index possible = std::min(shape.left_rows * shape.left_cols, shape.right_rows * shape.right_cols);
    if (shape.num_terms > possible) {
      throw ConfigError(fmt::format("kronecker: {} terms for `{}`, but factors of {} x {} and {} x {} allow at most {}",
                                    shape.num_terms, layer, shape.left_rows, shape.left_cols, shape.right_rows,
                                    shape.right_cols, possible));
    }
    return shape;
  }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight,
                             const LayerStatistics& statistics) const override {
    const auto s = shape_of(layer, weight.rows, weight.cols);
    if (prunes()) return pruned(weight, s);
    const bool scales_columns = options_.weighting != Weighting::none, scales_rows = options_.weighting == Weighting::two_sided;
    const auto rows = scales_rows ? root_scales(statistics.gradient_moments, options_.gradient_damping) : std::vector<double>();
    const auto columns = scales_columns ? root_scales(statistics.input_moments, options_.damping) : std::vector<double>();
    const auto at = [](const std::vector<double>& scales, Index i) { return scales.empty() ? 1.0 : scales[static_cast<std::size_t>(i)]; };
    auto w = to_matrix<double>(weight);
    for (Index i = 0; i < w.rows(); ++i) {
      for (Index j = 0; j < w.cols(); ++j) w(i, j) *= at(rows, i) * at(columns, j);
    }
    const auto svd = linalg::truncated_svd(rearrange(std::as_const(w).view(), s.left_rows, s.left_cols), s.num_terms);
    auto factors = factors_of(svd, s);
    std::vector<double> errors;
    if (options_.refit > 0) {
      const auto c = unscaled(statistics.input_moments, options_.damping, columns);
      const auto with = [&](const Matrix<double>& row_moments) {
        return refit(s, std::as_const(w).view(), c.view(), row_moments.view(), options_.refit, factors);
      };
      errors = with({});
      if (is_full()) errors = with(unscaled(statistics.gradient_moments, options_.gradient_damping, rows));
    }
    const auto built = [&] {
      Decomposition of_factors = decomposition(svd, s, factors);
      if (scales_columns) of_factors.factorization = std::make_unique<Scaled>(std::move(of_factors.factorization), inverse(rows), inverse(columns));
      return of_factors;
    };
    Decomposition result = built();
    if (options_.keeps_norm && scale_to_norm(weight, *result.factorization, factors)) result = built();
    if (!errors.empty()) {
      const auto rounds = static_cast<Index>(errors.size()) - 1;
      const bool is_cut = rounds == options_.refit;
      result.convergence = {is_cut ? Convergence::Reason::max_iterations : Convergence::Reason::converged, rounds,
                            rounds > 0 ? errors[errors.size() - 2] - errors.back() : 0.0};
    }
    return result;
  }

  bool prunes() const { return options_.start == KroneckerOptions::Start::pruning; }

  Decomposition pruned(ConstTensorView weight, const kernels::KroneckerShape& s) const {
    const auto blocks = rearrange(weight, s.left_rows, s.left_cols);
    KroneckerFactors factors{Matrix<double>(s.left_rows, s.left_cols), Matrix<double>(1, s.right_rows * s.right_cols)};
    for (Index i = 0; i < blocks.rows(); ++i) factors.left.data()[i] = blocks(i, 0);
    for (Index i = 0; i < factors.right.size(); ++i) factors.right.data()[i] = i == 0 ? 1.0 : 0.1;
    Decomposition result;
    result.factorization = factorization(s, factors);
    if (options_.keeps_norm && scale_to_norm(weight, *result.factorization, factors)) result.factorization = factorization(s, factors);
    return result;
  }

  /// A times |W|_F / |W^|_F; whether that is a number.
  static bool scale_to_norm(ConstTensorView weight, const Factorization& approximation, KroneckerFactors& factors) {
    const auto norm = [](ConstTensorView a) {
      const auto wide = to_matrix<double>(a);
      double squares = 0;
      for (Index i = 0; i < wide.size(); ++i) squares += wide.data()[i] * wide.data()[i];
      return std::sqrt(squares);
    };
    const double found = norm(approximation.to_dense().view());
    if (!(found > 0)) return false;
    const double factor = norm(weight) / found;
    for (Index i = 0; i < factors.left.size(); ++i) factors.left.data()[i] *= factor;
    return true;
  }

  Decomposition do_decompose_distributed(const comm::Communicator& communicator, const std::string& layer,
                                         ConstMatrixView<double> own_rows, Index rows, Index cols,
                                         const LayerStatistics&) const override {
    if (needs_input_moments() || options_.keeps_norm || prunes()) {
      throw ConfigError(fmt::format("kronecker: weighted, refitted, scaled or pruned, `{}` ({} x {}) cannot be decomposed by all ranks together", layer, rows, cols));
    }
    const auto s = shape_of(layer, rows, cols);
    const auto rearranged =
        linalg::DistributedMatrix::from_rows(communicator, own_rows, rows, cols, {s.right_rows, s.right_cols});
    const auto svd = linalg::truncated_svd(rearranged, s.num_terms);
    return decomposition(svd, s, factors_of(svd, s));
  }

  bool is_full() const { return needed_gradient_moments() == GradientMoments::full; }

  /// Damped second moments of what is divided by these scales; of no scales, as it is.
  static Matrix<double> unscaled(const Matrix<double>& moments, double damping, const std::vector<double>& scales) {
    const double floor = damping * mean_diagonal(moments);
    const auto scale = [&](Index i) { return scales.empty() ? 1.0 : scales[static_cast<std::size_t>(i)]; };
    Matrix<double> result(moments.rows(), moments.cols());
    for (Index i = 0; i < moments.rows(); ++i) {
      for (Index j = 0; j < moments.cols(); ++j) result(i, j) = (moments(i, j) + (i == j ? floor : 0.0)) / (scale(i) * scale(j));
    }
    return result;
  }

  static Tensor inverse(const std::vector<double>& scales) {
    if (scales.empty()) return {};
    Tensor tensor(DType::f32, {static_cast<Index>(scales.size())});
    for (std::size_t i = 0; i < scales.size(); ++i) tensor.values<float>()[i] = static_cast<float>(1 / scales[i]);
    return tensor;
  }

  /// Leading singular vectors times the root of the singular value; the largest entry of each B positive.
  static KroneckerFactors factors_of(const linalg::Svd& svd, const kernels::KroneckerShape& s) {
    KroneckerFactors factors{Matrix<double>(s.left_rows, s.num_terms * s.left_cols), Matrix<double>(s.num_terms, s.right_rows * s.right_cols)};
    for (Index k = 0; k < s.num_terms; ++k) {
      const auto row = svd.vt.row(k);
      const auto largest = std::ranges::max_element(row, {}, [](double value) { return std::abs(value); });
      const double root = std::sqrt(svd.singular_values[static_cast<std::size_t>(k)]) * (*largest < 0 ? -1.0 : 1.0);
      for (std::size_t i = 0; i < row.size(); ++i) factors.right(k, static_cast<Index>(i)) = row[i] * root;
      for (Index i = 0; i < s.left_rows; ++i) {
        for (Index j = 0; j < s.left_cols; ++j) factors.left(i, k * s.left_cols + j) = svd.u(i * s.left_cols + j, k) * root;
      }
    }
    return factors;
  }

  static std::unique_ptr<Factorization> factorization(const kernels::KroneckerShape& s, const KroneckerFactors& factors) {
    Tensor left(DType::f32, {s.left_rows, s.num_terms * s.left_cols});
    Tensor right(DType::f32, {s.num_terms, s.right_rows, s.right_cols});
    convert(factors.left.view(), left.view());
    convert(factors.right.view(), as_terms(s, right.view()));
    return std::make_unique<KroneckerSum>(std::make_unique<Dense>(std::move(left)), std::move(right));
  }

  static Decomposition decomposition(const linalg::Svd& svd, const kernels::KroneckerShape& s, const KroneckerFactors& factors) {
    Decomposition result;
    result.factorization = factorization(s, factors);
    result.spectrum = svd.singular_values;
    result.convergence = convergence_of(svd);
    return result;
  }

  KroneckerOptions options_;
};

}  // namespace

std::unique_ptr<Decomposer> make_kronecker_decomposer(const KroneckerOptions& options) {
  return std::make_unique<KroneckerDecomposer>(options);
}

Matrix<double> rearrange(ConstTensorView weight, Index left_rows, Index left_cols) {
  KRONLAB_EXPECTS(weight.rows % left_rows == 0 && weight.cols % left_cols == 0, "{} x {} into {} x {} blocks",
                  weight.rows, weight.cols, left_rows, left_cols);
  const Index right_rows = weight.rows / left_rows, right_cols = weight.cols / left_cols;
  const auto w = to_matrix<double>(weight);
  Matrix<double> rearranged(left_rows * left_cols, right_rows * right_cols);
  for (Index i = 0; i < left_rows; ++i) {
    for (Index u = 0; u < right_rows; ++u) {
      for (Index j = 0; j < left_cols; ++j) {
        for (Index v = 0; v < right_cols; ++v)
          rearranged(i * left_cols + j, u * right_cols + v) = w(i * right_rows + u, j * right_cols + v);
      }
    }
  }
  return rearranged;
}

}  // namespace kronlab::decompositions
