#include <algorithm>
#include <cmath>
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

class WhitenedSvdDecomposer final : public LowRankDecomposer {
 public:
  explicit WhitenedSvdDecomposer(const WhitenedSvdOptions& options)
      : LowRankDecomposer(options.size, "whitened-svd"), damping_(options.damping) {
    if (!(options.damping >= 0))
      throw ConfigError(fmt::format("whitened-svd: damping is {}, expected 0 or more", options.damping));
  }
  bool needs_input_moments() const override { return true; }

 private:
  Decomposition do_decompose(const std::string& layer, ConstTensorView weight,
                             const LayerStatistics& statistics) const override {
    const auto l = cholesky(layer, statistics);
    auto svd =
        linalg::truncated_svd(whitened(to_matrix<double>(weight), l), truncation(layer, weight.rows, weight.cols));
    linalg::solve_right_lower(l, svd.vt);
    return balanced(svd);
  }

  /// Only the columns mix in W L, so each rank whitens its own rows.
  Decomposition do_decompose_distributed(const comm::Communicator& communicator, const std::string& layer,
                                         ConstMatrixView<double> own_rows, Index rows, Index cols,
                                         const LayerStatistics& statistics) const override {
    const Index kept = truncation(layer, rows, cols);
    const auto l = comm::coordinate(communicator, [&] { return cholesky(layer, statistics); });
    const auto own = whitened(own_rows, l);
    auto svd = linalg::truncated_svd(linalg::DistributedMatrix::from_rows(communicator, own, rows, cols), kept);
    linalg::solve_right_lower(l, svd.vt);
    return balanced(svd);
  }

  Matrix<double> cholesky(const std::string& layer, const LayerStatistics& statistics) const {
    try {
      return linalg::damped_cholesky(statistics.input_moments, damping_);
    } catch (const DataError& error) {
      throw DataError(fmt::format("layer `{}`: {}", layer, error.what()));
    }
  }

  static Matrix<double> whitened(ConstMatrixView<double> w, const Matrix<double>& l) {
    Matrix<double> product(w.rows, w.cols);
    linalg::gemm(linalg::Transpose::no, w, linalg::Transpose::no, l.view(), 0.0, product.view());
    return product;
  }

  double damping_;
};

}  // namespace

std::unique_ptr<Decomposer> make_svd_decomposer(const SvdOptions& options) {
  return std::make_unique<SvdDecomposer>(options);
}

std::unique_ptr<Decomposer> make_whitened_svd_decomposer(const WhitenedSvdOptions& options) {
  return std::make_unique<WhitenedSvdDecomposer>(options);
}

}  // namespace kronlab::decompositions
