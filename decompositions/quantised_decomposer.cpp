#include "decompositions/quantised_decomposer.hpp"

#include <utility>

#include "decompositions/quantised.hpp"

namespace kronlab::decompositions {
namespace {

class QuantisedDecomposer final : public Decomposer {
 public:
  explicit QuantisedDecomposer(QuantisedOptions options) : options_(std::move(options)) {
    KRONLAB_EXPECTS(options_.inner != nullptr, "quantised: nothing inside");
    expect_possible(options_.grid);
  }

  std::string_view kind() const override { return "quantised"; }
  bool needs_input_moments() const override { return options_.inner->needs_input_moments(); }
  GradientMoments needed_gradient_moments() const override { return options_.inner->needed_gradient_moments(); }

  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    Size size = options_.inner->size_of(layer, rows, cols);
    const auto factors = options_.inner->stored_factors(layer, rows, cols);
    if (factors.empty()) throw ConfigError(fmt::format("quantised: '{}' has no factors that can be held in few bits (`{}`)", options_.inner->kind(), layer));
    for (const auto& factor : factors)
      size.stored_bytes += Quantised::factor_bytes(factor.rows, factor.cols, options_.grid) - 4 * factor.rows * factor.cols;
    return size;
  }

  std::optional<GroupingProblem> grouping_problem(const std::string& layer, Index rows, Index cols) const override {
    return options_.inner->grouping_problem(layer, rows, cols);
  }

  double cost(Index rows, Index cols) const override { return options_.inner->cost(rows, cols); }

 private:
  Decomposition do_decompose(const std::string& layer, ConstTensorView weight, const LayerStatistics& statistics) const override {
    Decomposition result = options_.inner->decompose(layer, weight, statistics);
    result.factorization = std::make_unique<Quantised>(*result.factorization, options_.grid);
    return result;
  }

  QuantisedOptions options_;
};

}  // namespace

std::unique_ptr<Decomposer> make_quantised_decomposer(QuantisedOptions options) { return std::make_unique<QuantisedDecomposer>(std::move(options)); }

}  // namespace kronlab::decompositions
