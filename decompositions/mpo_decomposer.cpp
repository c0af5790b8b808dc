#include "decompositions/mpo_decomposer.hpp"

#include <algorithm>
#include <utility>

#include "decompositions/moment_scales.hpp"
#include "decompositions/mpo_train.hpp"
#include "decompositions/scaled.hpp"
#include "decompositions/site_whitening.hpp"

namespace kronlab::decompositions {
namespace {

constexpr std::string_view mpo_kind = "mpo";

Tensor scales_of(const std::vector<double>& roots) {
  if (roots.empty()) return {};
  Tensor tensor(DType::f32, {static_cast<Index>(roots.size())});
  std::ranges::transform(roots, tensor.values<float>().begin(), [](double root) { return static_cast<float>(1 / root); });
  return tensor;
}

/// Rows of a matrix become its columns.
Matrix<double> transposed(const Matrix<double>& a) {
  Matrix<double> result(a.cols(), a.rows());
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.cols(); ++j) result(j, i) = a(i, j);
  }
  return result;
}

Index largest_divisor(Index of, Index most) {
  Index divisor = std::min(of, most);
  while (of % divisor != 0) --divisor;
  return divisor;
}

class MpoDecomposer final : public Decomposer {
 public:
  explicit MpoDecomposer(const MpoOptions& options)
      : options_(options), rule_(options.row_factors, options.col_factors, options.num_sites, mpo_kind) {
    size().expect_valid(kind());
    if (!(options.damping >= 0 && options.gradient_damping >= 0)) {
      throw ConfigError(fmt::format("mpo: damping {}, gradient_damping {}; expected at least 0", options.damping, options.gradient_damping));
    }
  }

  std::string_view kind() const override { return mpo_kind; }
  bool needs_input_moments() const override { return options_.weighting != Weighting::none; }
  GradientMoments needed_gradient_moments() const override {
    if (options_.weighting != Weighting::two_sided) return GradientMoments::none;
    return options_.whitening == Whitening::separable ? GradientMoments::full : GradientMoments::diagonal;
  }

  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    const auto sites = rule_.of(layer, rows, cols);
    const Index parameters = num_parameters(core_shapes(sites, bond_dimension(sites, layer, rows, cols))) + num_scales(rows, cols);
    return size().of(parameters);
  }

  std::vector<FactorShape> stored_factors(const std::string& layer, Index rows, Index cols) const override {
    const auto sites = rule_.of(layer, rows, cols);
    std::vector<FactorShape> factors;
    for (const auto& core : core_shapes(sites, bond_dimension(sites, layer, rows, cols))) factors.push_back({core.left * core.rows * core.cols, core.right});
    return factors;
  }

  /// The last bond cuts the Kronecker sum of the last site; where that site is large, of groups within it. No exact
  /// objective, but what makes one of the bonds easier makes the others easier.
  std::optional<GroupingProblem> grouping_problem(const std::string& layer, Index rows, Index cols) const override {
    const auto sites = rule_.of(layer, rows, cols);
    const auto last = core_shapes(sites, bond_dimension(sites, layer, rows, cols)).back();
    GroupingProblem problem{largest_divisor(last.rows, 8), largest_divisor(last.cols, 4), 1};
    const Index elements = problem.right_rows * problem.right_cols;
    problem.num_terms = std::max<Index>(1, elements / 2);
    if (elements == last.rows * last.cols) problem.num_terms = std::min(problem.num_terms, last.left);
    return problem;
  }
  std::optional<double> multiply_adds(const std::string& layer, Index rows, Index cols) const override {
    const auto sites = rule_.of(layer, rows, cols);
    return cheapest_plan(core_shapes(sites, bond_dimension(sites, layer, rows, cols)), Pass::apply).multiply_adds;
  }
  double cost(Index rows, Index cols) const override {
    const auto sites = rule_.of("", rows, cols);
    return tt_svd_cost(core_shapes(sites, bond_dimension(sites, "", rows, cols)));
  }

 private:
  BondSize size() const { return {options_.bond_dimension, options_.keep, options_.truncation_error}; }

  bool has_scales() const { return options_.weighting != Weighting::none && options_.whitening == Whitening::diagonal; }
  bool is_two_sided() const { return options_.weighting == Weighting::two_sided; }
  Index num_scales(Index rows, Index cols) const { return has_scales() ? cols + (is_two_sided() ? rows : 0) : 0; }

  Index bond_dimension(const SiteFactors& sites, const std::string& layer, Index rows, Index cols) const {
    return bond_dimension_of(size(), sites, rows * cols, num_scales(rows, cols), kind(), fmt::format("`{}` ({} x {})", layer, rows, cols));
  }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics) const override {
    const auto sites = rule_.of(layer, weight.rows, weight.cols);
    const Index bond = bond_dimension(sites, layer, weight.rows, weight.cols);
    if (needs_input_moments() && !has_scales()) return whitened(layer, weight, statistics, sites, bond);
    const auto rows = has_scales() && is_two_sided() ? root_scales(statistics.gradient_moments, options_.gradient_damping) : std::vector<double>();
    const auto cols = has_scales() ? root_scales(statistics.input_moments, options_.damping) : std::vector<double>();
    const auto at = [](const std::vector<double>& scales, Index i) { return scales.empty() ? 1.0 : scales[static_cast<std::size_t>(i)]; };
    auto w = to_matrix<double>(weight);
    for (Index i = 0; i < w.rows(); ++i) {
      for (Index j = 0; j < w.cols(); ++j) w(i, j) *= at(rows, i) * at(cols, j);
    }
    auto result = mpo_of(tt_svd(by_sites(std::move(w), sites), sites.extents(), size().rule(bond)), sites, weight.rows);
    if (has_scales()) result.factorization = std::make_unique<Scaled>(std::move(result.factorization), scales_of(rows), scales_of(cols));
    return result;
  }

  /// TT-SVD of K^T W L with K and L Kronecker products over the sites; each core takes its part of K^-T and L^-1.
  Decomposition whitened(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics, const SiteFactors& sites,
                         Index bond) const {
    const SiteRoots inputs(statistics.input_moments, sites.cols, options_.damping, fmt::format("layer `{}`, its inputs", layer));
    std::optional<SiteRoots> outputs;
    if (is_two_sided()) outputs.emplace(statistics.gradient_moments, sites.rows, options_.gradient_damping, fmt::format("layer `{}`, its gradient", layer));
    auto w = to_matrix<double>(weight);
    inputs.apply_right(w);
    if (outputs) {
      auto w_transposed = transposed(w);
      outputs->apply_right(w_transposed);
      w = transposed(w_transposed);
    }
    auto train = tt_svd(by_sites(std::move(w), sites), sites.extents(), size().rule(bond));
    for (std::size_t k = 0; k < train.cores.size(); ++k) {
      auto& core = train.cores[k];
      const Index right = core.cols(), left = core.rows() / (sites.rows[k] * sites.cols[k]);
      inputs.solve(k, left * sites.rows[k], right, core);
      if (outputs) outputs->solve(k, left, sites.cols[k] * right, core);
    }
    return mpo_of(std::move(train), sites, weight.rows);
  }

  MpoOptions options_;
  SiteRule rule_;
};

}  // namespace

std::unique_ptr<Decomposer> make_mpo_decomposer(const MpoOptions& options) { return std::make_unique<MpoDecomposer>(options); }

}  // namespace kronlab::decompositions
