#include <algorithm>
#include <cmath>
#include <utility>

#include "decompositions/decomposer.hpp"
#include "decompositions/kronecker_sum.hpp"
#include "framework/linalg/svd.hpp"

namespace kronlab::decompositions {
namespace {

class KroneckerDecomposer final : public Decomposer {
 public:
  explicit KroneckerDecomposer(const KroneckerOptions& options) : options_(options) {
    for (const auto& [name, value] : {std::pair{"left_rows", options.left_rows}, {"left_cols", options.left_cols}, {"num_terms", options.num_terms}}) {
      if (value < 1) throw ConfigError(fmt::format("kronecker: {} is {}, expected at least 1", name, value));
    }
  }

  std::string_view kind() const override { return "kronecker"; }

  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    const auto shape = shape_of(layer, rows, cols);
    const Index parameters = shape.num_terms * (shape.left_rows * shape.left_cols + shape.right_rows * shape.right_cols);
    return {parameters, 4 * parameters};
  }

  double cost(Index rows, Index cols) const override {
    const double short_side = std::min<double>(static_cast<double>(options_.left_rows * options_.left_cols),
                                               static_cast<double>(rows * cols / (options_.left_rows * options_.left_cols)));
    return static_cast<double>(rows * cols) * short_side * (short_side <= 64 ? 1.0 : 8.0);
  }

 private:
  kernels::KroneckerShape shape_of(const std::string& layer, Index rows, Index cols) const {
    if (rows % options_.left_rows != 0) {
      throw ConfigError(fmt::format("kronecker: rows of `{}` ({}) are not divisible by left_rows ({})", layer, rows, options_.left_rows));
    }
    if (cols % options_.left_cols != 0) {
      throw ConfigError(fmt::format("kronecker: columns of `{}` ({}) are not divisible by left_cols ({})", layer, cols, options_.left_cols));
    }
    const kernels::KroneckerShape shape{options_.num_terms, options_.left_rows, options_.left_cols, rows / options_.left_rows, cols / options_.left_cols};
    const Index possible = std::min(shape.left_rows * shape.left_cols, shape.right_rows * shape.right_cols);
    if (shape.num_terms > possible) {
      throw ConfigError(fmt::format("kronecker: {} terms for `{}`, but factors of {} x {} and {} x {} allow at most {}", shape.num_terms, layer,
                                    shape.left_rows, shape.left_cols, shape.right_rows, shape.right_cols, possible));
    }
    return shape;
  }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics&) const override {
    const auto s = shape_of(layer, weight.rows, weight.cols);
    const auto rearranged = rearrange(weight, s.left_rows, s.left_cols);
    const auto svd = linalg::truncated_svd(rearranged, s.num_terms);
    Tensor left(DType::f32, {s.left_rows, s.num_terms * s.left_cols});
    Tensor right(DType::f32, {s.num_terms, s.right_rows, s.right_cols});
    const auto a = left.matrix<float>();
    const auto b = right.values<float>();
    for (Index k = 0; k < s.num_terms; ++k) {
      const auto row = svd.vt.row(k);
      const auto largest = std::ranges::max_element(row, {}, [](double value) { return std::abs(value); });
      const double root = std::sqrt(svd.singular_values[static_cast<std::size_t>(k)]) * (*largest < 0 ? -1.0 : 1.0);
      for (std::size_t i = 0; i < row.size(); ++i) b[static_cast<std::size_t>(k) * row.size() + i] = static_cast<float>(row[i] * root);
      for (Index i = 0; i < s.left_rows; ++i) {
        for (Index j = 0; j < s.left_cols; ++j) a(i, k * s.left_cols + j) = static_cast<float>(svd.u(i * s.left_cols + j, k) * root);
      }
    }
    Decomposition result;
    result.factorization = std::make_unique<KroneckerSum>(std::make_unique<Dense>(std::move(left)), std::move(right));
    result.spectrum = svd.singular_values;
    return result;
  }

  KroneckerOptions options_;
};

}  // namespace

std::unique_ptr<Decomposer> make_kronecker_decomposer(const KroneckerOptions& options) {
  return std::make_unique<KroneckerDecomposer>(options);
}

Matrix<double> rearrange(ConstTensorView weight, Index left_rows, Index left_cols) {
  KRONLAB_EXPECTS(weight.rows % left_rows == 0 && weight.cols % left_cols == 0, "{} x {} into {} x {} blocks", weight.rows, weight.cols, left_rows, left_cols);
  const Index right_rows = weight.rows / left_rows, right_cols = weight.cols / left_cols;
  const auto w = to_matrix<double>(weight);
  Matrix<double> rearranged(left_rows * left_cols, right_rows * right_cols);
  for (Index i = 0; i < left_rows; ++i) {
    for (Index u = 0; u < right_rows; ++u) {
      for (Index j = 0; j < left_cols; ++j) {
        for (Index v = 0; v < right_cols; ++v) rearranged(i * left_cols + j, u * right_cols + v) = w(i * right_rows + u, j * right_cols + v);
      }
    }
  }
  return rearranged;
}

}  // namespace kronlab::decompositions
