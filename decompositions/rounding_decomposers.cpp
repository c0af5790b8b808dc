#include "decompositions/rounding_decomposers.hpp"

#include <utility>

#include "decompositions/column_sweep.hpp"
#include "decompositions/quantised_dense.hpp"
#include "decompositions/rounding_policy.hpp"

namespace kronlab::decompositions {
namespace {

Decomposition quantised(QuantisedCodes codes) {
  Decomposition result;
  result.factorization = std::make_unique<QuantisedDense>(std::move(codes));
  return result;
}

/// None where an order of the columns is worth nothing.
/// @throws ConfigError naming the layer if groups do not divide its columns
std::optional<GroupingProblem> grouping_of(std::string_view kind, const std::string& layer, Index cols,
                                           const QuantisationGrid& grid) {
  if (grid.group <= 1 || grid.group >= cols) return std::nullopt;
  if (cols % grid.group != 0) {
    throw ConfigError(
        fmt::format("{}: the {} columns of `{}` are not divisible by group ({}), which a permutation needs", kind, cols,
                    layer, grid.group));
  }
  return GroupingProblem{.right_cols = grid.group, .grid = grid};
}

class RtnDecomposer final : public Decomposer {
 public:
  explicit RtnDecomposer(const QuantisationGrid& grid) : grid_(grid) { expect_possible(grid); }
  std::string_view kind() const override { return "rtn"; }
  Size size_of(const std::string&, Index rows, Index cols) const override {
    return {rows * cols, QuantisedDense::stored_bytes_of(rows, cols, grid_, false)};
  }
  std::optional<GroupingProblem> grouping_problem(const std::string& layer, Index, Index cols) const override {
    return grouping_of(kind(), layer, cols, grid_);
  }
  double cost(Index rows, Index cols) const override { return 4.0 * static_cast<double>(rows * cols); }

 private:
  Decomposition do_decompose(const std::string&, ConstTensorView weight, const LayerStatistics&) const override {
    auto w = to_matrix<double>(weight);
    RoundingPolicy policy(w.rows(), w.cols(), grid_);
    round_to_nearest(w, policy);
    return quantised(policy.quantised_codes());
  }

  QuantisationGrid grid_;
};

class GptqDecomposer final : public Decomposer {
 public:
  explicit GptqDecomposer(const GptqOptions& options) : options_(options) {
    expect_possible(options.grid);
    if (!(options.damping >= 0))
      throw ConfigError(fmt::format("gptq: damping is {}, expected 0 or more", options.damping));
  }
  std::string_view kind() const override { return "gptq"; }
  bool needs_input_moments() const override { return true; }
  Size size_of(const std::string&, Index rows, Index cols) const override {
    return {rows * cols, QuantisedDense::stored_bytes_of(rows, cols, options_.grid, options_.activation_order)};
  }
  std::optional<GroupingProblem> grouping_problem(const std::string& layer, Index, Index cols) const override {
    if (options_.activation_order) return std::nullopt;  // which groups columns in its own order
    return grouping_of(kind(), layer, cols, options_.grid);
  }
  double cost(Index rows, Index cols) const override { return sweep_cost(rows, cols); }

 private:
  Decomposition do_decompose(const std::string& layer, ConstTensorView weight,
                             const LayerStatistics& statistics) const override {
    const auto moments = sweep_moments(layer, statistics.input_moments, options_.damping,
                                       options_.activation_order ? ColumnOrder::by_activation : ColumnOrder::given);
    auto w = with_columns_ordered(to_matrix<double>(weight), moments.order);
    RoundingPolicy policy(w.rows(), w.cols(), options_.grid);
    sweep_columns(moments.factor, policy, w);
    auto codes = policy.quantised_codes();
    codes.order = moments.order;
    return quantised(std::move(codes));
  }

  GptqOptions options_;
};

}  // namespace

std::unique_ptr<Decomposer> make_rtn_decomposer(const QuantisationGrid& grid) {
  return std::make_unique<RtnDecomposer>(grid);
}

std::unique_ptr<Decomposer> make_gptq_decomposer(const GptqOptions& options) {
  return std::make_unique<GptqDecomposer>(options);
}

}  // namespace kronlab::decompositions
