#include "decompositions/pruning_mask.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

namespace kronlab::decompositions {
namespace {

/// A score and where it stands: no two are equal.
using Candidate = std::pair<double, Index>;

void keep_smallest(std::vector<Candidate>& candidates, Index count) {
  std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count), candidates.end());
  candidates.resize(static_cast<std::size_t>(count));
}

/// Scores of one bucket have their exponent and the first four bits of their fraction in common.
constexpr std::size_t num_buckets = 1 << 15;
std::size_t bucket_of(double score) { return std::bit_cast<std::uint64_t>(score) >> 48 & (num_buckets - 1); }

std::vector<Index> histogram(ConstMatrixView<double> scores) {
  std::vector<Index> counts(num_buckets);
#pragma omp parallel
  {
    std::vector<Index> own(num_buckets);
#pragma omp for schedule(static) nowait
    for (Index i = 0; i < scores.rows; ++i) {
      for (const double score : scores.row(i)) ++own[bucket_of(score)];
    }
#pragma omp critical(kronlab_pruning_histogram)
    for (std::size_t b = 0; b < num_buckets; ++b) counts[b] += own[b];
  }
  return counts;
}

}  // namespace

void expect_pruning_amount(std::string_view kind, const PruningAmount& amount) {
  const auto& sparsity = amount.sparsity;
  const auto [n, m] = amount.pattern;
  const bool has_pattern = n != 0 || m != 0;
  if (sparsity.has_value() == has_pattern) throw ConfigError(fmt::format("{}: give either sparsity, or n and m", kind));
  if (sparsity && !(*sparsity >= 0 && *sparsity < 1)) {
    throw ConfigError(fmt::format("{}: sparsity is {}, expected the share that is pruned, at least 0 and less than 1",
                                  kind, *sparsity));
  }
  if (has_pattern && !(n >= 1 && n <= m)) {
    throw ConfigError(fmt::format("{}: {} of each {} weights are kept, expected n from 1 to m", kind, n, m));
  }
}

Index num_pruned(double sparsity, Index num_weights) {
  const double product = sparsity * static_cast<double>(num_weights);
  const double nearest = std::round(product);
  return std::min(static_cast<Index>(std::abs(product - nearest) < 1e-12 * nearest ? nearest : std::floor(product)),
                  num_weights - 1);
}

void prune_smallest_of_rows(ConstMatrixView<double> scores, Index count, MatrixView<std::uint8_t> mask) {
  KRONLAB_EXPECTS(count >= 0 && count < scores.cols, "{} of {} weights of a row pruned", count, scores.cols);
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < scores.rows; ++i) {
    std::vector<Candidate> candidates;
    for (Index j = 0; j < scores.cols; ++j) candidates.emplace_back(scores(i, j), j);
    keep_smallest(candidates, count);
    std::ranges::fill(mask.row(i), std::uint8_t{0});
    for (const auto& [score, j] : candidates) mask(i, j) = 1;
  }
}

void prune_smallest_of_all(ConstMatrixView<double> scores, Index count, MatrixView<std::uint8_t> mask) {
  KRONLAB_EXPECTS(count >= 0 && count < scores.rows * scores.cols, "{} of {} weights pruned", count,
                  scores.rows * scores.cols);
  const auto counts = histogram(scores);
  std::size_t bucket = 0;
  Index below = 0;  // scores in smaller buckets
  while (below + counts[bucket] <= count) below += counts[bucket++];
  std::vector<Candidate> candidates;
#pragma omp parallel
  {
    std::vector<Candidate> own;
#pragma omp for schedule(static) nowait
    for (Index i = 0; i < scores.rows; ++i) {
      for (Index j = 0; j < scores.cols; ++j) {
        const auto at = bucket_of(scores(i, j));
        mask(i, j) = at < bucket ? 1 : 0;
        if (at == bucket) own.emplace_back(scores(i, j), i * scores.cols + j);
      }
    }
#pragma omp critical(kronlab_pruning_candidates)
    candidates.insert(candidates.end(), own.begin(), own.end());
  }
  keep_smallest(candidates, count - below);
  for (const auto& [score, at] : candidates) mask(at / scores.cols, at % scores.cols) = 1;
}

void prune_smallest_of_group(std::span<const double> scores, Index n, std::span<std::uint8_t> mask) {
  const std::size_t m = scores.size(), num_pruned_here = m - static_cast<std::size_t>(n);
  for (std::size_t j = 0; j < m; ++j) {
    std::size_t before = 0;  // those that go before this one does
    for (std::size_t k = 0; k < m; ++k) before += k < j ? scores[k] <= scores[j] : scores[k] < scores[j];
    mask[j] = before < num_pruned_here ? 1 : 0;
  }
}

}  // namespace kronlab::decompositions
