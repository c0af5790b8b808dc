#pragma once

#include <optional>
#include <vector>

#include "decompositions/permutation/configured_search.hpp"

namespace kronlab::decompositions {

/// A term of a sum: how it is decomposed, and permuted before where that is wanted.
struct SumPart {
  std::unique_ptr<Decomposer> decomposer;
  std::optional<ConfiguredSearch> search;
};

/// W ~ Σ_p W^_p, such as a low-rank term and a permuted Kronecker sum, fitted in turn: part p decomposes
/// W - Σ_(q != p) W^_q, in the sequence of the parts, `rounds` times. A part's permutation is searched once, for the
/// residual that it sees first, with random numbers that depend on the layer's name and the part alone; then it stays.
///
/// The result is the best that was seen after any part, so that more rounds are never worse, nor is the sum worse than
/// its first part alone. Best is what has the least two-sided error where a part needs moments of the gradient, else the
/// least weighted error where one needs those of the inputs, else the least error in the Frobenius norm. A part that made
/// nothing better stays, and is stored as, zeros. A round without an improvement is the last.
///
/// Backfitting: Friedman and Stuetzle, Projection pursuit regression, 1981.
struct SumOptions {
  std::vector<SumPart> parts;  ///< two or more
  Index rounds = 3;
};
/// @throws ConfigError if there are fewer than two parts or less than one round
std::unique_ptr<Decomposer> make_sum_decomposer(SumOptions options);

}  // namespace kronlab::decompositions
