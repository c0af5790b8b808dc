#include "decompositions/permutation/permutation_search.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "decompositions/permutation/kronecker_objective.hpp"
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

SearchResult PermutationSearch::search(const std::string& layer, ConstTensorView weight, const GroupingProblem& problem,
                                       RandomStream random, const SearchBudget& budget) const {
  const auto [m2, n2, terms] = problem;
  if (m2 < 1 || n2 < 1 || weight.rows % m2 != 0 || weight.cols % n2 != 0) {
    throw ConfigError(fmt::format("{}: groups of {} rows and {} columns do not divide `{}` ({} x {})", kind(), m2, n2,
                                  layer, weight.rows, weight.cols));
  }
  if (terms < 1 || terms > m2 * n2) {
    throw ConfigError(fmt::format("{}: {} terms for `{}`, expected 1 to {}", kind(), terms, layer, m2 * n2));
  }
  const auto w = to_matrix<double>(weight);
  for (Index i = 0; i < w.size(); ++i) {
    if (!std::isfinite(w.data()[i]))
      throw DataError(fmt::format("layer `{}`: weight {} is {}, expected a finite number", layer, i, w.data()[i]));
  }
  SearchResult result = do_search(w, problem, random, budget);
  result.rows = canonical(result.rows, m2);
  result.columns = canonical(result.columns, n2);
  result.value = KroneckerObjective(w, problem).value(result.rows, result.columns);
  return result;
}

Tensor weighted_by_inputs(ConstTensorView weight, const LayerStatistics& statistics) {
  KRONLAB_EXPECTS(statistics.input_moments.rows() == weight.cols, "moments of {} inputs for a weight of {} columns",
                  statistics.input_moments.rows(), weight.cols);
  Tensor copy(DType::f32, {weight.rows, weight.cols});
  convert(weight, copy.view());
  const auto w = copy.matrix<float>();
  for (Index j = 0; j < w.cols; ++j) {
    const auto scale = static_cast<float>(std::sqrt(std::max(statistics.input_moments(j, j), 0.0)));
    for (Index i = 0; i < w.rows; ++i) w(i, j) *= scale;
  }
  return copy;
}

Decomposition decompose_permuted(const Decomposer& decomposer, const SearchResult& found, const std::string& layer,
                                 ConstTensorView weight, const LayerStatistics& statistics) {
  expect_permutation(found.rows, weight.rows, "row permutation");
  expect_permutation(found.columns, weight.cols, "column permutation");
  LayerStatistics moved;
  moved.num_tokens = statistics.num_tokens;
  const Index n = statistics.input_moments.rows();
  if (n > 0) {
    moved.input_moments = Matrix<double>(n, n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        moved.input_moments(i, j) = statistics.input_moments(found.columns[static_cast<std::size_t>(i)],
                                                             found.columns[static_cast<std::size_t>(j)]);
      }
    }
  }
  // Both norms are the same for the weight and its rearranged copy.
  const Tensor rearranged = permuted_copy(weight, found);
  Decomposition result = decomposer.decompose(layer, rearranged.view(), moved);
  result.factorization = std::make_unique<Permuted>(std::move(result.factorization), unless_identity(found.rows),
                                                    unless_identity(found.columns));
  return result;
}

}  // namespace kronlab::decompositions
