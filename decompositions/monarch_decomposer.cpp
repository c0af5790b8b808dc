#include "decompositions/monarch_decomposer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "decompositions/moment_scales.hpp"
#include "decompositions/monarch.hpp"
#include "decompositions/scaled.hpp"
#include "decompositions/site_factors.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

class MonarchDecomposer final : public Decomposer {
 public:
  explicit MonarchDecomposer(const MonarchOptions& options) : options_(options) {
    if (options.num_terms.has_value() == options.keep.has_value()) throw ConfigError("monarch: give either num_terms or keep");
    if (options.num_terms && *options.num_terms < 1) throw ConfigError(fmt::format("monarch: num_terms is {}, expected at least 1", *options.num_terms));
    if (options.keep && !(*options.keep > 0 && *options.keep <= 2))
      throw ConfigError(fmt::format("monarch: keep is {}, expected a share of the parameters above 0", *options.keep));
    if (options.weighting == Weighting::two_sided) throw ConfigError("monarch: weighting is two-sided, expected none or inputs");
    if (!(options.damping >= 0)) throw ConfigError(fmt::format("monarch: damping is {}, expected at least 0", options.damping));
  }

  std::string_view kind() const override { return "monarch"; }
  bool needs_input_moments() const override { return options_.weighting != Weighting::none; }

  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    const auto shape = shape_of(layer, rows, cols);
    const Index parameters = shape.left_size() + shape.right_size() + num_scales(cols);
    return {parameters, 4 * parameters};
  }

  std::vector<FactorShape> stored_factors(const std::string& layer, Index rows, Index cols) const override {
    const auto s = shape_of(layer, rows, cols);
    return {{s.left_blocks * s.left_rows, s.right_blocks * s.num_terms}, {s.right_blocks * s.left_blocks * s.num_terms, s.right_cols}};
  }

  double cost(Index rows, Index cols) const override {
    const auto s = shape_of("", rows, cols);
    return 12.0 * static_cast<double>(rows * cols) * static_cast<double>(std::min(s.left_rows, s.right_cols));
  }

 private:
  Index num_scales(Index cols) const { return needs_input_moments() ? cols : 0; }

  static Index blocks(const std::optional<Index>& given, const char* name, const char* axis, const std::string& layer, Index extent, std::size_t which) {
    if (!given) {
      if (const auto factors = balanced_factors(extent, 2)) return (*factors)[which];
      const auto [below, above] = nearest_factorable(extent, 2);
      throw ConfigError(fmt::format("monarch: {} of `{}` ({}) are no product of two factors of about the same size; {}{} can be; or give {}", axis, layer,
                                    extent, below > 0 ? fmt::format("{} and ", below) : "", above, name));
    }
    if (*given < 1 || extent % *given != 0)
      throw ConfigError(fmt::format("monarch: {} of `{}` ({}) are not divisible by {} ({})", axis, layer, extent, name, *given));
    return *given;
  }

  MonarchShape shape_of(const std::string& layer, Index rows, Index cols) const {
    MonarchShape shape;
    shape.left_blocks = blocks(options_.left_blocks, "left_blocks", "rows", layer, rows, 0);
    shape.right_blocks = blocks(options_.right_blocks, "right_blocks", "columns", layer, cols, 1);
    shape.left_rows = rows / shape.left_blocks, shape.right_cols = cols / shape.right_blocks;
    const Index possible = std::min(shape.left_rows, shape.right_cols);
    const auto one_term = static_cast<double>(shape.left_size() + shape.right_size());
    if (options_.keep) {
      const double allowed = *options_.keep * static_cast<double>(rows * cols) - static_cast<double>(num_scales(cols));
      if (allowed < one_term) {
        throw ConfigError(fmt::format("monarch: keep is {} for `{}` ({} x {}), but {} slices of {} x {} need at least {:.3g}, with one term", *options_.keep,
                                      layer, rows, cols, shape.left_blocks * shape.right_blocks, shape.left_rows, shape.right_cols,
                                      (one_term + static_cast<double>(num_scales(cols))) / static_cast<double>(rows * cols)));
      }
      shape.num_terms = std::min(possible, static_cast<Index>(std::floor(allowed / one_term)));
    } else if (*options_.num_terms > possible) {
      throw ConfigError(fmt::format("monarch: {} terms for `{}` ({} x {}), but slices of {} x {} allow at most {}", *options_.num_terms, layer, rows, cols,
                                    shape.left_rows, shape.right_cols, possible));
    } else {
      shape.num_terms = *options_.num_terms;
    }
    return shape;
  }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics) const override {
    const auto s = shape_of(layer, weight.rows, weight.cols);
    auto w = to_matrix<double>(weight);
    const auto scales = needs_input_moments() ? root_scales(statistics.input_moments, options_.damping) : std::vector<double>();
    for (Index i = 0; i < w.rows(); ++i) {
      for (std::size_t j = 0; j < scales.size(); ++j) w(i, static_cast<Index>(j)) *= scales[j];
    }
    Tensor left(DType::f32, {s.left_blocks, s.left_rows, s.right_blocks * s.num_terms}), right(DType::f32, {s.right_blocks, s.left_blocks * s.num_terms, s.right_cols});
    for (Index b = 0; b < s.left_blocks; ++b) {
      for (Index c = 0; c < s.right_blocks; ++c) fit_slice(s, w, b, c, left.matrix<float>(), right.matrix<float>());
    }
    Decomposition result;
    result.factorization = std::make_unique<Monarch>(std::move(left), std::move(right));
    if (!scales.empty()) {
      Tensor inverse(DType::f32, {weight.cols});
      std::ranges::transform(scales, inverse.values<float>().begin(), [](double scale) { return static_cast<float>(1 / scale); });
      result.factorization = std::make_unique<Scaled>(std::move(result.factorization), Tensor(), std::move(inverse));
    }
    return result;
  }

  /// left: [m2 m1, n1 r], right: [n1 m2 r, n2]
  static void fit_slice(const MonarchShape& s, const Matrix<double>& w, Index b, Index c, MatrixView<float> left, MatrixView<float> right) {
    Matrix<double> slice(s.left_rows, s.right_cols);
    for (Index a = 0; a < s.left_rows; ++a) {
      for (Index d = 0; d < s.right_cols; ++d) slice(a, d) = w(a * s.left_blocks + b, c * s.right_cols + d);
    }
    const auto svd = linalg::truncated_svd(slice, s.num_terms);
    for (Index k = 0; k < s.num_terms; ++k) {
      const double root = std::sqrt(svd.singular_values[static_cast<std::size_t>(k)]);
      for (Index a = 0; a < s.left_rows; ++a) left(b * s.left_rows + a, c * s.num_terms + k) = static_cast<float>(svd.u(a, k) * root);
      for (Index d = 0; d < s.right_cols; ++d) right((c * s.left_blocks + b) * s.num_terms + k, d) = static_cast<float>(svd.vt(k, d) * root);
    }
  }

  MonarchOptions options_;
};

}  // namespace

std::unique_ptr<Decomposer> make_monarch_decomposer(const MonarchOptions& options) { return std::make_unique<MonarchDecomposer>(options); }

}  // namespace kronlab::decompositions
