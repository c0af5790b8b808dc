#include "decompositions/embedding_decomposer.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "decompositions/mpo_train.hpp"
#include "decompositions/site_factors.hpp"
#include "decompositions/token_trains.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::decompositions {
namespace {

constexpr std::string_view embedding_kind = "tensor-train-embedding";

std::string shape_text(const std::string& layer, Index rows, Index cols) { return fmt::format("`{}` ({} x {})", layer, rows, cols); }

Index product(const std::vector<Index>& factors) {
  Index result = 1;
  for (const Index factor : factors) result *= factor;
  return result;
}

/// The whole table as one operator.
class TableDecomposer final : public Decomposer {
 public:
  explicit TableDecomposer(const TensorTrainEmbeddingOptions& options)
      : size_(options.size), rule_(options.row_factors, options.col_factors, options.num_sites, embedding_kind) {
    size_.expect_valid(kind());
  }
  std::string_view kind() const override { return embedding_kind; }
  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    const Index parameters = num_parameters(shapes_of(layer, rows, cols));
    return size_.of(parameters);
  }
  std::optional<double> multiply_adds(const std::string& layer, Index rows, Index cols) const override {
    return cheapest_plan(shapes_of(layer, rows, cols), Pass::apply).multiply_adds;
  }
  double cost(Index rows, Index cols) const override { return tt_svd_cost(shapes_of("", rows, cols)); }

 private:
  SiteFactors sites_of(const std::string& layer, Index rows, Index cols) const { return rule_.of(layer, rows, cols, SiteRule::Rows::padded); }
  std::vector<CoreShape> shapes_of(const std::string& layer, Index rows, Index cols) const {
    const auto sites = sites_of(layer, rows, cols);
    return core_shapes(sites, bond_dimension_of(size_, sites, rows * cols, 0, kind(), shape_text(layer, rows, cols)));
  }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics&) const override {
    const auto sites = sites_of(layer, weight.rows, weight.cols);
    const Index bond = bond_dimension_of(size_, sites, weight.rows * weight.cols, 0, kind(), shape_text(layer, weight.rows, weight.cols));
    const Index rows = product(sites.rows);
    if (rows > weight.rows) log_info(fmt::format("{}: {} rows of `{}` padded to {} = {}", kind(), weight.rows, layer, rows, product_text(sites.rows)));
    Matrix<double> padded(rows, weight.cols);
    convert(weight, TensorView(padded.view()).block(0, 0, weight.rows, weight.cols));
    return mpo_of(tt_svd(by_sites(std::move(padded), sites), sites.extents(), size_.rule(bond)), sites, weight.rows);
  }

  BondSize size_;
  SiteRule rule_;
};

/// A train for each row.
class TokenDecomposer final : public Decomposer {
 public:
  explicit TokenDecomposer(const TensorTrainEmbeddingOptions& options) : size_(options.size), rule_({}, options.col_factors, options.num_sites, embedding_kind) {
    size_.expect_valid(kind());
    if (size_.truncation_error) throw ConfigError("tensor-train-embedding: truncation_error is of form = \"table\" only: the cores of all tokens have one shape");
    if (!options.row_factors.empty()) throw ConfigError("tensor-train-embedding: row_factors are of form = \"table\" only: every token has a train of its own");
  }
  std::string_view kind() const override { return embedding_kind; }
  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    const Index parameters = rows * num_parameters(shapes_of(layer, rows, cols));
    return {parameters, 4 * parameters};
  }
  /// Of the dense table: some rows at a time are expanded, once for a batch.
  std::optional<double> multiply_adds(const std::string&, Index rows, Index cols) const override { return static_cast<double>(rows * cols); }
  double cost(Index rows, Index cols) const override { return static_cast<double>(rows) * tt_svd_cost(shapes_of("", rows, cols)); }

 private:
  /// Of the cores of one token.
  std::vector<CoreShape> shapes_of(const std::string& layer, Index rows, Index cols) const {
    const auto factors = rule_.cols_of(layer, cols);
    const SiteFactors sites{std::vector<Index>(factors.size(), 1), factors};
    return core_shapes(sites, bond_dimension_of(size_, sites, cols, 0, kind(), shape_text(layer, rows, cols)));
  }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics&) const override {
    const auto shapes = shapes_of(layer, weight.rows, weight.cols);
    std::vector<Index> extents;
    std::vector<Tensor> cores;
    Index bond = 1;
    for (const auto& s : shapes) {
      extents.push_back(s.cols);
      cores.emplace_back(DType::f32, std::vector<Index>{weight.rows, s.left, s.cols, s.right});
      bond = std::max(bond, s.right);
    }
    const auto w = to_matrix<double>(weight);
    Matrix<double> discarded(weight.rows, static_cast<Index>(shapes.size()) - 1);
    std::exception_ptr failed;
#pragma omp parallel for schedule(dynamic, 64)
    for (Index v = 0; v < w.rows(); ++v) {
      try {
        decompose_row(w.row(v), v, extents, bond, cores, discarded.row(v));
      } catch (...) {
#pragma omp critical
        failed = std::current_exception();
      }
    }
    if (failed) std::rethrow_exception(failed);
    Decomposition result;
    result.discarded_weights = shares(w, discarded);
    result.factorization = std::make_unique<TokenTrains>(std::move(cores));
    return result;
  }

  static void decompose_row(std::span<const double> values, Index v, const std::vector<Index>& extents, Index bond, std::vector<Tensor>& cores,
                            std::span<double> discarded) {
    Matrix<double> row(1, static_cast<Index>(values.size()));
    std::ranges::copy(values, row.data());
    const auto train = tt_svd(std::move(row), extents, {bond});
    for (std::size_t k = 0; k < cores.size(); ++k) {
      const auto& core = train.cores[k];
      const auto to = cores[k].values<float>().subspan(static_cast<std::size_t>(v * core.size()), static_cast<std::size_t>(core.size()));
      for (std::size_t e = 0; e < to.size(); ++e) to[e] = static_cast<float>(core.data()[e]);
    }
    std::ranges::copy(train.discarded_weights, discarded.begin());
  }

  /// Of the table, from those of its rows.
  static std::vector<double> shares(const Matrix<double>& w, const Matrix<double>& of_rows) {
    std::vector<double> sums(static_cast<std::size_t>(of_rows.cols()));
    double all = 0;
    for (Index v = 0; v < w.rows(); ++v) {
      double norm = 0;
      for (const double value : w.row(v)) norm += value * value;
      for (Index k = 0; k < of_rows.cols(); ++k) sums[static_cast<std::size_t>(k)] += norm * of_rows(v, k);
      all += norm;
    }
    for (double& sum : sums) sum = all > 0 ? sum / all : 0.0;
    return sums;
  }

  BondSize size_;
  SiteRule rule_;
};

}  // namespace

std::unique_ptr<Decomposer> make_tensor_train_embedding_decomposer(const TensorTrainEmbeddingOptions& options) {
  if (options.form == TensorTrainEmbeddingOptions::Form::token) return std::make_unique<TokenDecomposer>(options);
  return std::make_unique<TableDecomposer>(options);
}

}  // namespace kronlab::decompositions
