#include "decompositions/permutation/permutation_search.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "decompositions/permutation/kronecker_objective.hpp"
#include "decompositions/permutation/pruning_objective.hpp"
#include "decompositions/permutation/rounding_objective.hpp"
#include "decompositions/permutation/search_run.hpp"
#include "decompositions/permuted.hpp"

namespace kronlab::decompositions {
namespace {

/// The order of groups does not matter: by their first element, so that equal groupings are equal arrays.
std::vector<Index> canonical(const std::vector<Index>& order, Index group) {
  std::vector<std::vector<Index>> groups;
  for (std::size_t first = 0; first < order.size(); first += static_cast<std::size_t>(group)) {
    groups.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(first),
                        order.begin() + static_cast<std::ptrdiff_t>(first) + group);
  }
  std::ranges::sort(groups);
  std::vector<Index> sorted;
  for (const auto& members : groups) sorted.insert(sorted.end(), members.begin(), members.end());
  return sorted;
}

/// Empty, which Permuted takes as the identity and stores in no bytes, if that is what it is.
std::vector<Index> unless_identity(const std::vector<Index>& order) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i] != static_cast<Index>(i)) return order;
  }
  return {};
}

void expect_moments(const std::string& layer, const char* whose, const Matrix<double>& moments, Index n) {
  if (moments.cols() != n || (moments.rows() != n && moments.rows() != 1)) {
    throw DataError(fmt::format(
        "layer `{}`: the permutation search needs second moments of its {}, {} x {} or 1 x {}; found {} x {}", layer,
        whose, n, n, n, moments.rows(), moments.cols()));
  }
  for (Index i = 0; i < n; ++i) {
    const double moment = moments(moments.rows() == 1 ? 0 : i, i);
    if (!std::isfinite(moment))
      throw DataError(fmt::format("layer `{}`: second moment {} of its {} is {}", layer, i, whose, moment));
  }
}

Tensor permuted_copy(ConstTensorView weight, const SearchResult& found) {
  const auto w = to_matrix<float>(weight);
  Tensor copy(DType::f32, {weight.rows, weight.cols});
  const auto out = copy.matrix<float>();
  for (Index i = 0; i < weight.rows; ++i) {
    for (Index j = 0; j < weight.cols; ++j)
      out(i, j) = w(found.rows[static_cast<std::size_t>(i)], found.columns[static_cast<std::size_t>(j)]);
  }
  return copy;
}

}  // namespace

void expect_finite(const std::string& layer, const Matrix<double>& weight) {
  for (Index i = 0; i < weight.size(); ++i) {
    if (!std::isfinite(weight.data()[i]))
      throw DataError(fmt::format("layer `{}`: weight {} is {}, expected a finite number", layer, i, weight.data()[i]));
  }
}

Matrix<double> reordered(const Matrix<double>& moments, const std::vector<Index>& order) {
  Matrix<double> result(moments.rows(), moments.cols());
  for (Index i = 0; i < moments.rows(); ++i) {
    const Index from = moments.rows() == 1 ? 0 : order[static_cast<std::size_t>(i)];
    for (Index j = 0; j < moments.cols(); ++j) result(i, j) = moments(from, order[static_cast<std::size_t>(j)]);
  }
  return result;
}

void keep_best(SearchResult& best, SearchResult other) {
  const Index evaluated = best.evaluated + other.evaluated, accepted = best.accepted + other.accepted;
  if (other.value > best.value) best = std::move(other);
  best.evaluated = evaluated, best.accepted = accepted;
}

std::unique_ptr<PermutationObjective> make_objective(std::string_view kind, const std::string& layer, ConstMatrixView<double> weight,
                                                     const GroupingProblem& problem) {
  const auto& [m2, n2, terms, num_kept, grid] = problem;
  if (m2 < 1 || n2 < 1 || weight.rows % m2 != 0 || weight.cols % n2 != 0) {
    throw ConfigError(fmt::format("{}: groups of {} rows and {} columns do not divide `{}` ({} x {})", kind, m2, n2,
                                  layer, weight.rows, weight.cols));
  }
  if (grid) return std::make_unique<RoundingObjective>(weight, *grid);
  if (num_kept > 0) return std::make_unique<PruningObjective>(weight, SparsePattern{num_kept, n2});
  if (terms < 1 || terms > m2 * n2) {
    throw ConfigError(fmt::format("{}: {} terms for `{}`, expected 1 to {}", kind, terms, layer, m2 * n2));
  }
  return std::make_unique<KroneckerObjective>(weight, problem);
}

std::string to_string(const GroupingProblem& problem) {
  if (problem.grid) {
    return fmt::format("groups of {} in {} bits{}", problem.right_cols, problem.grid->bits,
                       problem.grid->symmetric ? ", symmetric" : "");
  }
  if (problem.num_kept > 0) return fmt::format("{} of {} kept", problem.num_kept, problem.right_cols);
  return fmt::format("blocks {}x{}, {} terms", problem.right_rows, problem.right_cols, problem.num_terms);
}

SearchResult PermutationSearch::search(const std::string& layer, ConstTensorView weight, const GroupingProblem& problem,
                                       const RandomStream& random, const SearchBudget& budget, SearchStateStore* store,
                                       Index start) const {
  const auto w = to_matrix<double>(weight);
  expect_finite(layer, w);
  const auto objective = make_objective(kind(), layer, w, problem);
  return search(fmt::format("{}, {} x {}, energy {:a}, {}", layer, weight.rows, weight.cols, objective->energy(), to_string(problem)), *objective,
                random, budget, store, start);
}

SearchResult PermutationSearch::search(const std::string& problem, const PermutationObjective& objective, const RandomStream& random,
                                       const SearchBudget& budget, SearchStateStore* store, Index start) const {
  SearchKeeper keeper(store, fmt::format("{} of {}", kind(), problem));
  if (const auto found = keeper.result(); found && is_grouping_of(objective, {found->rows, found->columns})) return *found;
  const RandomStream of_start = start == 0 ? random : random.child(static_cast<std::uint64_t>(start));
  std::optional<Grouping> first;
  if (start % 2 == 1) {
    RandomStream orders = of_start.child("start");
    auto rows = orders.permutation(objective.size(Axis::rows));
    first = Grouping{std::move(rows), orders.permutation(objective.size(Axis::columns))};
  }
  SearchRun run(objective, budget, keeper, std::move(first));
  const auto reason = do_search(run, of_start);
  SearchResult result = run.result(reason);
  result.rows = canonical(result.rows, objective.group(Axis::rows));
  result.columns = canonical(result.columns, objective.group(Axis::columns));
  result.value = objective.value({result.rows, result.columns});
  keeper.save(result);
  return result;
}

double PermutationSearch::cost(Index rows, Index cols, const SearchBudget& /*budget*/) const {
  const auto m = static_cast<double>(rows), n = static_cast<double>(cols);
  return 64 * (m + n) * (m + n);
}

Tensor weighted(const std::string& layer, ConstTensorView weight, Weighting weighting,
                const LayerStatistics& statistics, const Damping& damping) {
  Tensor copy(DType::f32, {weight.rows, weight.cols});
  convert(weight, copy.view());
  const auto w = copy.matrix<float>();
  if (weighting == Weighting::none) return copy;
  expect_moments(layer, "inputs", statistics.input_moments, weight.cols);
  const auto columns = root_scales(statistics.input_moments, damping.inputs);
  std::vector<double> rows(static_cast<std::size_t>(weight.rows), 1.0);
  if (weighting == Weighting::two_sided) {
    expect_moments(layer, "gradient", statistics.gradient_moments, weight.rows);
    rows = root_scales(statistics.gradient_moments, damping.gradient);
  }
  for (Index i = 0; i < w.rows; ++i) {
    for (Index j = 0; j < w.cols; ++j) {
      w(i, j) = static_cast<float>(static_cast<double>(w(i, j)) * rows[static_cast<std::size_t>(i)] * columns[static_cast<std::size_t>(j)]);
    }
  }
  return copy;
}

Decomposition decompose_permuted(const Decomposer& decomposer, const SearchResult& found, const std::string& layer,
                                 ConstTensorView weight, const LayerStatistics& statistics) {
  expect_permutation(found.rows, weight.rows, "row permutation");
  expect_permutation(found.columns, weight.cols, "column permutation");
  LayerStatistics moved;
  moved.num_tokens = statistics.num_tokens;
  moved.input_moments = reordered(statistics.input_moments, found.columns);
  moved.gradient_moments = reordered(statistics.gradient_moments, found.rows);
  // Both norms are the same for the weight and its rearranged copy.
  const Tensor rearranged = permuted_copy(weight, found);
  Decomposition result = decomposer.decompose(layer, rearranged.view(), moved);
  result.factorization = std::make_unique<Permuted>(std::move(result.factorization), unless_identity(found.rows),
                                                    unless_identity(found.columns));
  return result;
}

}  // namespace kronlab::decompositions
