#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "decompositions/sparse_pattern.hpp"

namespace kronlab::decompositions {

/// How many weights go: a share of them, or all but n of each m neighbours in a row.
struct PruningAmount {
  std::optional<double> sparsity;  ///< share that is pruned, 0 <= sparsity < 1
  SparsePattern pattern{};         ///< or n:m
};
/// @throws ConfigError unless exactly one of both is given and something is kept
void expect_pruning_amount(std::string_view kind, const PruningAmount& amount);
/// floor(sparsity * num_weights), a product that rounding put below an integer being that integer; one weight stays.
Index num_pruned(double sparsity, Index num_weights);

/// 1 where a weight is pruned.  [out, in]
using PruningMask = Matrix<std::uint8_t>;

// Those with the smallest scores are marked; of equal ones, those that come first. Scores are 0 or more, finite.
// Bit-equal for any number of threads.

/// `count` of each row.
void prune_smallest_of_rows(ConstMatrixView<double> scores, Index count, MatrixView<std::uint8_t> mask);
/// `count` of all.
void prune_smallest_of_all(ConstMatrixView<double> scores, Index count, MatrixView<std::uint8_t> mask);
/// All but n of scores.size() in one group of a row.
void prune_smallest_of_group(std::span<const double> scores, Index n, std::span<std::uint8_t> mask);

}  // namespace kronlab::decompositions
