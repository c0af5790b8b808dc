#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "decompositions/decomposer.hpp"
#include "decompositions/moment_scales.hpp"
#include "decompositions/permutation/permutation_objective.hpp"
#include "framework/base/random.hpp"

namespace kronlab::decompositions {

/// When a search stops. A time limit makes the result depend on the machine, and is recorded as the reason.
struct SearchBudget {
  /// Candidate moves; looked at after each sweep over an axis. Annealing has fewer temperatures where it would exceed it.
  Index max_evaluations = 20'000'000'000;
  double time_limit_s = 0.0;              ///< 0: none
};

/// One point of a search's curve.
struct SearchPoint {
  Index evaluations = 0;
  double seconds = 0.0;
  double value = 0.0;  ///< share of the energy |W|_F^2 kept
};

struct SearchResult {
  std::vector<Index> rows;  ///< W'[i, j] = W[rows[i], columns[j]] is what is decomposed
  std::vector<Index> columns;
  double start_value = 0.0;  ///< share of the energy kept at the start, and
  double value = 0.0;        ///< at the end, from scratch in double; the relative error is sqrt(1 - value)
  std::optional<double> bound;  ///< no grouping keeps more than this share; none where nothing is proved
  Convergence convergence;
  std::vector<SearchPoint> curve;  ///< non-decreasing
  Index evaluated = 0;
  Index accepted = 0;
};

class SearchRun;
class SearchStateStore;

/// What a grouping of a weight is worth; the weight must outlive it.
/// @throws ConfigError naming `layer` and `kind` if the groups do not divide the weight or the terms are too many
std::unique_ptr<PermutationObjective> make_objective(std::string_view kind, const std::string& layer, ConstMatrixView<double> weight,
                                                     const GroupingProblem& problem);
/// "blocks 2x4, 4 terms", "2 of 4 kept", "groups of 64 in 4 bits"
std::string to_string(const GroupingProblem& problem);

/// Of two starts: the better result, `best` if they are equal, with the moves of both counted.
void keep_best(SearchResult& best, SearchResult other);

/// Finds row and column permutations that make a weight easier to decompose. Deterministic, for any number of threads.
class PermutationSearch {
 public:
  virtual ~PermutationSearch() = default;
  /// weight: f32 or f64 [m1 m2, n1 n2]. With a store, the search goes on from what it finds there, or hands out the
  /// result that it finds. @throws ConfigError naming `layer` if the groups do not divide the weight or the terms are
  /// too many, DataError if the weight is not finite
  SearchResult search(const std::string& layer, ConstTensorView weight, const GroupingProblem& problem,
                      const RandomStream& random, const SearchBudget& budget = {}, SearchStateStore* store = nullptr,
                      Index start = 0) const;
  /// The same for any objective; `problem` says what it is, and with the store that it is the same one.
  SearchResult search(const std::string& problem, const PermutationObjective& objective, const RandomStream& random,
                      const SearchBudget& budget = {}, SearchStateStore* store = nullptr, Index start = 0) const;
  virtual std::string_view kind() const = 0;
  /// Searches from independent starts; the best of their results is meant. Those with an even number begin with the norm
  /// sort, where the search does, the others with a random grouping.
  virtual Index num_starts() const { return 1; }
  /// Multiply-adds of one start on a weight of this shape, roughly.
  virtual double cost(Index rows, Index cols, const SearchBudget& budget) const;

 private:
  /// Leaves the best grouping in the run. Why it ended, unless the budget ended it.
  virtual Convergence::Reason do_search(SearchRun& run, RandomStream random) const = 0;
};

std::unique_ptr<PermutationSearch> make_identity_search();
/// The best of `num_samples` random groupings.
std::unique_ptr<PermutationSearch> make_random_search(Index num_samples);
/// Rows and columns by falling norm: the largest at position 0 of their groups, the smallest at the last; the identity
/// where that keeps more.
std::unique_ptr<PermutationSearch> make_norm_sort_search();
/// From the norm sort (or the identity where that keeps more) until no swap and no assignment of one position improves.
std::unique_ptr<PermutationSearch> make_swap_descent_search();
/// From the norm sort, assignments of one position after another, rows and columns in turn, until none improves.
std::unique_ptr<PermutationSearch> make_coordinate_assignment_search();

/// Reconstructed, not published: TQCompressor gives the permutations that its search found, and of the search only that
/// it has 5 outer rounds and a step "annealing" or "random" with 3 samples (arXiv:2401.16367 and the released
/// checkpoint's configuration). Here a round fits the terms to the present order, and the step moves rows and then columns
/// against that fit. It mostly stays near its start, as the fit already reflects the present groups.
struct AlternatingOptions {
  enum class Step { annealing, random };
  Index num_rounds = 5;
  Step step = Step::annealing;
  Index num_samples = 3;              ///< of a random step
  Index proposals_per_element = 500;  ///< of an annealing step
};
std::unique_ptr<PermutationSearch> make_alternating_search(const AlternatingOptions& options);

/// Exact pairs. For B = [1, 2] or [2, 1] and one term: the best pairing over a grid of directions of B, refined until no
/// pairing can keep more than `gap` of the energy above the one found, which is certified (SearchResult::bound). For
/// other problems, on axes with groups of two: the best pairing for the projector of the present grouping, from the norm
/// sort until it stays. @throws ConfigError if no axis has groups of two
struct MatchingOptions {
  double gap = 1e-4;
};
std::unique_ptr<PermutationSearch> make_matching_search(const MatchingOptions& options);

/// Annealed swaps by a heat bath, rows and columns in turn, from where the norm sort leads downhill, then polished until no
/// swap, no assignment and (groups of two, up to 2048 elements) no matching improves. The temperature of an element is in
/// proportion to its energy; the factor, one for rows and one for columns, is steered so that the share of elements that
/// move in a sweep falls linearly over the search. So no temperature is set by hand: the weights differ by orders of
/// magnitude in where they order.
struct AnnealOptions {
  Index num_temperatures = 120;
  Index num_sweeps = 6;  ///< of each axis at one temperature
  double first_acceptance = 0.8;
  double last_acceptance = 0.03;
  Index num_starts = 1;  ///< independent ones, of which the best is taken
};
std::unique_ptr<PermutationSearch> make_anneal_search(const AnnealOptions& options);
/// The default: coordinate assignment and annealing, each as it is alone, and the better of the two polished. Never worse
/// than either alone.
std::unique_ptr<PermutationSearch> make_portfolio_search(const AnnealOptions& options);

/// A copy of the weight for a search to see: columns scaled by the roots of the damped diagonal of C where inputs count,
/// and rows by those of S where the gradient counts too; what a Kronecker sum of the same weighting is fitted to.
/// f32 [out, in]
/// @throws DataError naming `layer` if the moments are missing, of another shape or not finite
Tensor weighted(const std::string& layer, ConstTensorView weight, Weighting weighting,
                const LayerStatistics& statistics, const Damping& damping = {});

/// @throws DataError naming `layer` at the first number that is not finite
void expect_finite(const std::string& layer, const Matrix<double>& weight);

/// Second moments of elements in another order; of one row, only the diagonal. Empty stays empty.
Matrix<double> reordered(const Matrix<double>& moments, const std::vector<Index>& order);

/// The weight rearranged as found, decomposed, and put back: Permuted(inner). An axis that stays as it is costs no
/// bytes. Errors are those of the weight itself.
Decomposition decompose_permuted(const Decomposer& decomposer, const SearchResult& found, const std::string& layer,
                                 ConstTensorView weight, const LayerStatistics& statistics);

}  // namespace kronlab::decompositions
