#include "decompositions/pruning_policy.hpp"

#include <algorithm>
#include <utility>

namespace kronlab::decompositions {

PruningPolicy::PruningPolicy(Index rows, const Matrix<double>& factor, const PruningAmount& amount, Index block,
                             std::optional<RoundingPolicy> rounding)
    : amount_(amount), mask_(rows, factor.cols()), rounding_(std::move(rounding)) {
  for (Index j = 0; j < factor.cols(); ++j) weighting_.push_back(factor(j, j) * factor(j, j));
  leaf_ = leaf_of(amount, block);
  panel_ = rounding_ && rounding_->group() < factor.cols() ? std::max(leaf_, rounding_->group()) : leaf_;
}

PruningPolicy::PruningPolicy(PruningMask mask, std::optional<RoundingPolicy> rounding)
    : mask_(std::move(mask)), rounding_(std::move(rounding)) {
  constexpr Index block = 128;
  panel_ = rounding_ ? rounding_->panel() : block;
  leaf_ = rounding_ ? rounding_->leaf() : block;
}

Index PruningPolicy::leaf_of(const PruningAmount& amount, Index block) {
  const Index m = amount.pattern.m;
  return m > 0 ? (block + m - 1) / m * m : block;
}

Index PruningPolicy::num_pruned_by_blocks(Index rows, Index cols, double sparsity, Index block) {
  Index sum = 0;
  for (Index first = 0; first < cols; first += block) sum += num_pruned(sparsity, rows * std::min(block, cols - first));
  return sum;
}

void PruningPolicy::start(ConstMatrixView<double> weights) {
  if (rounding_) rounding_->start(weights);
}

void PruningPolicy::enter(Index first, ConstMatrixView<double> weights) {
  if (!amount_.sparsity) return;
  Matrix<double> scores(weights.rows, weights.cols);
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < weights.rows; ++i) {
    for (Index j = 0; j < weights.cols; ++j)
      scores(i, j) = weights(i, j) * weights(i, j) * weighting_[static_cast<std::size_t>(first + j)];
  }
  prune_smallest_of_all(scores, num_pruned(*amount_.sparsity, scores.size()),
                        mask_.view().block(0, first, weights.rows, weights.cols));
}

double PruningPolicy::settle(Index row, Index column, std::span<const double> weights) noexcept {
  if (amount_.pattern.m > 0 && column % amount_.pattern.m == 0) {
    static thread_local std::vector<double> scores;
    scores.clear();
    for (std::size_t j = 0; j < static_cast<std::size_t>(amount_.pattern.m); ++j)
      scores.push_back(weights[j] * weights[j] * weighting_[static_cast<std::size_t>(column) + j]);
    prune_smallest_of_group(scores, amount_.pattern.n,
                            mask_.row(row).subspan(static_cast<std::size_t>(column), scores.size()));
  }
  if (mask_(row, column) == 0) return rounding_ ? rounding_->settle(row, column, weights) : weights.front();
  if (rounding_) rounding_->settle_zero(row, column, weights);
  return 0.0;
}

}  // namespace kronlab::decompositions
