#include "decompositions/pruning_decomposers.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "decompositions/column_sweep.hpp"
#include "decompositions/moment_scales.hpp"
#include "decompositions/pruning_policy.hpp"
#include "decompositions/quantised_dense.hpp"
#include "decompositions/sparse.hpp"

namespace kronlab::decompositions {
namespace {

/// Weights that stay of such a weight.
Index num_kept(const PruningAmount& amount, PruningScope scope, Index rows, Index cols) {
  if (!amount.sparsity) return KeptEntries::num_kept(rows, cols, amount.pattern);
  return scope == PruningScope::row ? rows * (cols - num_pruned(*amount.sparsity, cols))
                                    : rows * cols - num_pruned(*amount.sparsity, rows * cols);
}

/// @throws ConfigError naming the layer if m does not divide its columns
void expect_whole_groups(std::string_view kind, const std::string& layer, Index cols, const SparsePattern& pattern) {
  if (pattern.m > 0 && cols % pattern.m != 0)
    throw ConfigError(
        fmt::format("{}: the {} columns of `{}` are not divisible by m ({})", kind, cols, layer, pattern.m));
}

/// None where an order of the columns is worth nothing.
std::optional<GroupingProblem> grouping_of(std::string_view kind, const std::string& layer, Index cols,
                                           const SparsePattern& pattern) {
  expect_whole_groups(kind, layer, cols, pattern);
  if (pattern.n == pattern.m) return std::nullopt;
  return GroupingProblem{.right_cols = pattern.m, .num_kept = pattern.n};
}

Matrix<double> scores_of(const std::string& layer, const Matrix<double>& weight, MaskSource source,
                         const LayerStatistics& statistics) {
  std::vector<double> scales(static_cast<std::size_t>(weight.cols()), 1.0);
  if (source == MaskSource::inputs) {
    expect_tokens(layer, statistics.input_moments);
    scales = root_scales(statistics.input_moments, 0.0);
  }
  Matrix<double> scores(weight.rows(), weight.cols());
  for (Index i = 0; i < weight.rows(); ++i) {
    for (Index j = 0; j < weight.cols(); ++j)
      scores(i, j) = std::abs(weight(i, j)) * scales[static_cast<std::size_t>(j)];
  }
  return scores;
}

PruningMask mask_of(const Matrix<double>& scores, const PruningAmount& amount, PruningScope scope) {
  PruningMask mask(scores.rows(), scores.cols());
  if (!amount.sparsity) {
    const auto [n, m] = amount.pattern;
    const auto group = static_cast<std::size_t>(m);
    for (Index i = 0; i < scores.rows(); ++i) {
      for (std::size_t first = 0; first < scores.row(i).size(); first += group)
        prune_smallest_of_group(scores.row(i).subspan(first, group), n, mask.row(i).subspan(first, group));
    }
  } else if (scope == PruningScope::row) {
    prune_smallest_of_rows(scores, num_pruned(*amount.sparsity, scores.cols()), mask);
  } else {
    prune_smallest_of_all(scores, num_pruned(*amount.sparsity, scores.size()), mask);
  }
  return mask;
}

void expect_zeros(std::string_view kind, const std::string& layer, const Matrix<double>& weight,
                  const PruningMask& mask) {
  for (Index i = 0; i < weight.rows(); ++i) {
    for (Index j = 0; j < weight.cols(); ++j) {
      if (mask(i, j) != 0 && weight(i, j) != 0.0) {
        throw DataError(
            fmt::format("{}: layer `{}` has fewer zeros than shall be pruned: [{}, {}] is {}; lower the amount, or "
                        "take another mask",
                        kind, layer, i, j, weight(i, j)));
      }
    }
  }
}

/// The mask that is made before any sweep.
PruningMask first_mask(std::string_view kind, const std::string& layer, const Matrix<double>& weight, MaskSource source,
                       const PruningAmount& amount, PruningScope scope, const LayerStatistics& statistics) {
  auto mask = mask_of(scores_of(layer, weight, source, statistics), amount, scope);
  if (source == MaskSource::zeros) expect_zeros(kind, layer, weight, mask);
  return mask;
}

std::shared_ptr<const KeptEntries> kept_entries(const PruningMask& mask, const SparsePattern& pattern) {
  std::vector<std::uint8_t> flags;
  for (Index i = 0; i < mask.size(); ++i) flags.push_back(mask.data()[i] == 0 ? 1 : 0);
  return std::make_shared<const KeptEntries>(mask.rows(), mask.cols(), pattern, flags);
}

Decomposition sparse(const Matrix<double>& weight, const PruningMask& mask, const SparsePattern& pattern) {
  Tensor values(DType::f32, {weight.rows(), weight.cols()});
  convert(weight.view(), values.view());
  Decomposition result;
  result.factorization = std::make_unique<Sparse>(std::as_const(values).view(), kept_entries(mask, pattern));
  return result;
}

class PruningDecomposer final : public Decomposer {
 public:
  PruningDecomposer(std::string_view kind, const PruningOptions& options) : kind_(kind), options_(options) {
    KRONLAB_EXPECTS(options.mask != MaskSource::sweep, "{}: a mask of a sweep", kind);
    expect_pruning_amount(kind, options.amount);
  }
  std::string_view kind() const override { return kind_; }
  bool needs_input_moments() const override { return options_.mask == MaskSource::inputs; }
  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    expect_whole_groups(kind_, layer, cols, options_.amount.pattern);
    const Index kept = num_kept(options_.amount, options_.scope, rows, cols);
    return {kept, Sparse::stored_bytes_of(rows, cols, options_.amount.pattern, kept)};
  }
  std::optional<GroupingProblem> grouping_problem(const std::string& layer, Index, Index cols) const override {
    return grouping_of(kind_, layer, cols, options_.amount.pattern);
  }
  double cost(Index rows, Index cols) const override { return 20.0 * static_cast<double>(rows * cols); }

 private:
  Decomposition do_decompose(const std::string& layer, ConstTensorView weight,
                             const LayerStatistics& statistics) const override {
    expect_whole_groups(kind_, layer, weight.cols, options_.amount.pattern);
    const auto w = to_matrix<double>(weight);
    return sparse(w, first_mask(kind_, layer, w, options_.mask, options_.amount, options_.scope, statistics),
                  options_.amount.pattern);
  }

  std::string kind_;
  PruningOptions options_;
};

class SparseGptDecomposer final : public Decomposer {
 public:
  explicit SparseGptDecomposer(const SparseGptOptions& options) : options_(options) {
    expect_pruning_amount(kind(), options.amount);
    if (options.block < 1) throw ConfigError(fmt::format("sparsegpt: block is {}, expected at least 1", options.block));
    if (!(options.damping >= 0))
      throw ConfigError(fmt::format("sparsegpt: damping is {}, expected 0 or more", options.damping));
    if (!options.grid) return;
    expect_possible(*options.grid);
    const Index group = options.grid->group, block = leaf();
    if (group > 0 && group % block != 0 && block % group != 0) {
      throw ConfigError(fmt::format(
          "sparsegpt: blocks of {} columns and groups of {}, expected one to divide the other", block, group));
    }
  }
  std::string_view kind() const override { return "sparsegpt"; }
  bool needs_input_moments() const override { return true; }
  Size size_of(const std::string& layer, Index rows, Index cols) const override {
    const auto& [sparsity, pattern] = options_.amount;
    expect_whole_groups(kind(), layer, cols, pattern);
    const bool by_blocks = sparsity && options_.mask == MaskSource::sweep;
    const Index kept = by_blocks
                           ? rows * cols - PruningPolicy::num_pruned_by_blocks(rows, cols, *sparsity, options_.block)
                           : num_kept(options_.amount, PruningScope::row, rows, cols);
    return {kept, options_.grid ? QuantisedDense::stored_bytes_of(rows, cols, *options_.grid, false, kept, pattern)
                                : Sparse::stored_bytes_of(rows, cols, pattern, kept)};
  }
  std::optional<GroupingProblem> grouping_problem(const std::string& layer, Index, Index cols) const override {
    return grouping_of(kind(), layer, cols, options_.amount.pattern);
  }
  double cost(Index rows, Index cols) const override { return sweep_cost(rows, cols); }

 private:
  Index leaf() const { return PruningPolicy::leaf_of(options_.amount, options_.block); }

  Decomposition do_decompose(const std::string& layer, ConstTensorView weight,
                             const LayerStatistics& statistics) const override {
    expect_whole_groups(kind(), layer, weight.cols, options_.amount.pattern);
    const auto moments = sweep_moments(layer, statistics.input_moments, options_.damping, ColumnOrder::given);
    auto w = to_matrix<double>(weight);
    std::optional<RoundingPolicy> rounding;
    if (options_.grid) rounding.emplace(w.rows(), w.cols(), *options_.grid);
    std::optional<PruningMask> mask;
    if (options_.mask != MaskSource::sweep)
      mask = first_mask(kind(), layer, w, options_.mask, options_.amount, PruningScope::row, statistics);
    for (Index i = 0; i < w.rows(); ++i) {
      for (const Index j : moments.dead) w(i, j) = 0.0;
    }
    auto policy = mask ? PruningPolicy(*std::move(mask), std::move(rounding))
                       : PruningPolicy(w.rows(), moments.factor, options_.amount, options_.block, std::move(rounding));
    sweep_columns(moments.factor, policy, w);
    if (!options_.grid) return sparse(w, policy.mask(), options_.amount.pattern);
    auto codes = policy.rounding()->quantised_codes();
    codes.kept = kept_entries(policy.mask(), options_.amount.pattern);
    Decomposition result;
    result.factorization = std::make_unique<QuantisedDense>(std::move(codes));
    return result;
  }

  SparseGptOptions options_;
};

}  // namespace

std::unique_ptr<Decomposer> make_pruning_decomposer(std::string_view kind, const PruningOptions& options) {
  return std::make_unique<PruningDecomposer>(kind, options);
}

std::unique_ptr<Decomposer> make_sparsegpt_decomposer(const SparseGptOptions& options) {
  return std::make_unique<SparseGptDecomposer>(options);
}

}  // namespace kronlab::decompositions
