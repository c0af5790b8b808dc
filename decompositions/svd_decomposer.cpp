#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "decompositions/decomposer.hpp"
#include "framework/linalg/distributed_matrix.hpp"
#include "framework/linalg/gemm.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

Index truncation_of(const SvdOptions& options, std::string_view kind, const std::string& layer, Index rows,
                    Index cols) {
  const Index possible = std::min(rows, cols);
  const Index truncation =
      options.truncation ? *options.truncation
                         : static_cast<Index>(std::floor(*options.keep * static_cast<double>(rows) *
                                                         static_cast<double>(cols) / static_cast<double>(rows + cols)));
  if (truncation < 1 || truncation > possible) {
    throw ConfigError(fmt::format("{}: truncation {} for `{}` ({} x {}), expected 1 to {}", kind, truncation, layer,
                                  rows, cols, possible));
  }
  return truncation;
}

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

/// Size and cost, which weighting does not change.
class LowRankDecomposer : public Decomposer {
 public:
  LowRankDecomposer(const SvdOptions& options, std::string_view kind) : options_(options), kind_(kind) {
    if (options.truncation.has_value() == options.keep.has_value()) {
      throw ConfigError(fmt::format("{}: give either truncation or keep", kind));
    }
    if (options.keep && !(*options.keep > 0 && *options.keep <= 2)) {
      throw ConfigError(fmt::format("{}: keep is {}, expected a share of the parameters above 0", kind, *options.keep));
    }
  }
  std::string_view kind() const override { return kind_; }
  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    const Index parameters = truncation(layer, rows, cols) * (rows + cols);
    return {parameters, 4 * parameters};
  }
  double cost(Index rows, Index cols) const override {
    return 12.0 * static_cast<double>(rows * cols) * static_cast<double>(std::min(rows, cols));
  }

 protected:
  Index truncation(const std::string& layer, Index rows, Index cols) const {
    return truncation_of(options_, kind_, layer, rows, cols);
  }

 private:
  SvdOptions options_;
  std::string kind_;
};

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

Matrix<double> transposed(const Matrix<double>& a) {
  Matrix<double> result(a.cols(), a.rows());
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.cols(); ++j) result(j, i) = a(i, j);
  }
  return result;
}

/// M with M M^T = S + damping mean(diag S) I: a lower triangle, or the root of a diagonal [1, m].
class RowScale {
 public:
  RowScale(const Matrix<double>& s, GradientMoments kind, double damping) {
    if (kind == GradientMoments::full) {
      triangle_ = linalg::damped_cholesky(s, damping);
      return;
    }
    const Index n = s.cols();
    double mean = 0;
    const auto diagonal = [&](Index i) { return s.rows() == 1 ? s(0, i) : s(i, i); };
    for (Index i = 0; i < n; ++i) mean += diagonal(i) / static_cast<double>(n);
    for (Index i = 0; i < n; ++i) {
      const double damped = diagonal(i) + damping * mean;
      if (!(damped > 0) || !std::isfinite(damped)) throw DataError(fmt::format("gradient moments: damped diagonal element {} is {}, expected more than 0", i, damped));
      roots_.push_back(std::sqrt(damped));
    }
  }
  /// M^T W
  Matrix<double> applied(const Matrix<double>& w) const {
    Matrix<double> result(w.rows(), w.cols());
    if (roots_.empty()) {
      linalg::gemm(linalg::Transpose::yes, triangle_.view(), linalg::Transpose::no, w.view(), 0.0, result.view());
    } else {
      for (Index i = 0; i < w.rows(); ++i) {
        for (Index j = 0; j < w.cols(); ++j) result(i, j) = roots_[static_cast<std::size_t>(i)] * w(i, j);
      }
    }
    return result;
  }
  /// M^-T U
  Matrix<double> undone(const Matrix<double>& u) const {
    auto rows = transposed(u);
    if (roots_.empty()) {
      linalg::solve_right_lower(triangle_, rows);
    } else {
      for (Index k = 0; k < rows.rows(); ++k) {
        for (Index i = 0; i < rows.cols(); ++i) rows(k, i) /= roots_[static_cast<std::size_t>(i)];
      }
    }
    return transposed(rows);
  }

 private:
  Matrix<double> triangle_;
  std::vector<double> roots_;
};

class WhitenedSvdDecomposer final : public LowRankDecomposer {
 public:
  explicit WhitenedSvdDecomposer(const WhitenedSvdOptions& options) : LowRankDecomposer(options.size, "whitened-svd"), options_(options) {
    if (!(options.damping >= 0)) throw ConfigError(fmt::format("whitened-svd: damping is {}, expected 0 or more", options.damping));
    if (!(options.gradient_damping >= 0)) throw ConfigError(fmt::format("whitened-svd: gradient_damping is {}, expected 0 or more", options.gradient_damping));
  }
  bool needs_input_moments() const override { return true; }
  GradientMoments needed_gradient_moments() const override { return is_two_sided() ? options_.gradient_moments : GradientMoments::none; }

 private:
  bool is_two_sided() const { return options_.weighting == Whitening::two_sided; }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics) const override {
    const Index kept = truncation(layer, weight.rows, weight.cols);
    const auto l = named(layer, [&] { return linalg::damped_cholesky(statistics.input_moments, options_.damping); });
    const auto white = whitened(to_matrix<double>(weight), l);
    if (!is_two_sided()) {
      auto svd = linalg::truncated_svd(white, kept);
      linalg::solve_right_lower(l, svd.vt);
      return balanced(svd);
    }
    const auto m = named(layer, [&] { return RowScale(statistics.gradient_moments, options_.gradient_moments, options_.gradient_damping); });
    auto svd = linalg::truncated_svd(m.applied(white), kept);
    linalg::solve_right_lower(l, svd.vt);
    svd.u = m.undone(svd.u);
    return balanced(svd);
  }

  /// Only the columns mix in W L, so each rank whitens its own rows.
  Decomposition do_decompose_distributed(const comm::Communicator& communicator, const std::string& layer,
                                         ConstMatrixView<double> own_rows, Index rows, Index cols,
                                         const LayerStatistics& statistics) const override {
    if (is_two_sided()) throw ConfigError(fmt::format("layer `{}`: whitened-svd with weighting = \"two-sided\" has no distributed form", layer));
    const Index kept = truncation(layer, rows, cols);
    const auto l = comm::coordinate(communicator, [&] {
      return named(layer, [&] { return linalg::damped_cholesky(statistics.input_moments, options_.damping); });
    });
    const auto own = whitened(own_rows, l);
    auto svd = linalg::truncated_svd(linalg::DistributedMatrix::from_rows(communicator, own, rows, cols), kept);
    linalg::solve_right_lower(l, svd.vt);
    return balanced(svd);
  }

  /// The layer's name before the message of a DataError.
  template <class Work>
  static std::invoke_result_t<Work> named(const std::string& layer, Work work) {
    try {
      return work();
    } catch (const DataError& error) {
      throw DataError(fmt::format("layer `{}`: {}", layer, error.what()));
    }
  }

  static Matrix<double> whitened(ConstMatrixView<double> w, const Matrix<double>& l) {
    Matrix<double> product(w.rows, w.cols);
    linalg::gemm(linalg::Transpose::no, w, linalg::Transpose::no, l.view(), 0.0, product.view());
    return product;
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
