#include <algorithm>
#include <numeric>
#include <utility>

#include "decompositions/permutation/kronecker_objective.hpp"
#include "decompositions/permutation/starts.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::decompositions {

std::vector<Index> identity_order(Index n) {
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index{0});
  return order;
}

std::vector<Index> norm_sorted_order(const std::vector<double>& squared_norms, Index group) {
  const Index n = static_cast<Index>(squared_norms.size()), num_groups = n / group;
  auto sorted = identity_order(n);
  std::ranges::stable_sort(sorted, std::greater{}, [&](Index i) { return squared_norms[static_cast<std::size_t>(i)]; });
  std::vector<Index> order(sorted.size());
  for (Index i = 0; i < n; ++i)
    order[static_cast<std::size_t>(i % num_groups * group + i / num_groups)] = sorted[static_cast<std::size_t>(i)];
  return order;
}

Grouping norm_sorted(ConstMatrixView<double> weight, const GroupingProblem& problem) {
  std::vector<double> rows(static_cast<std::size_t>(weight.rows)), columns(static_cast<std::size_t>(weight.cols));
  for (Index i = 0; i < weight.rows; ++i) {
    for (Index j = 0; j < weight.cols; ++j) {
      rows[static_cast<std::size_t>(i)] += weight(i, j) * weight(i, j);
      columns[static_cast<std::size_t>(j)] += weight(i, j) * weight(i, j);
    }
  }
  return {norm_sorted_order(rows, problem.right_rows), norm_sorted_order(columns, problem.right_cols)};
}

namespace {

SearchResult evaluated(const KroneckerObjective& objective, Grouping grouping) {
  SearchResult result;
  result.start_value =
      objective.value(identity_order(objective.weight().rows), identity_order(objective.weight().cols));
  result.value = objective.value(grouping.rows, grouping.columns);
  result.rows = std::move(grouping.rows), result.columns = std::move(grouping.columns);
  result.curve = {{1, 0.0, result.value}};
  result.evaluated = 1;
  return result;
}

class IdentitySearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "identity"; }

 private:
  SearchResult do_search(ConstMatrixView<double> weight, const GroupingProblem& problem, RandomStream,
                         const SearchBudget&) const override {
    return evaluated(KroneckerObjective(weight, problem), {identity_order(weight.rows), identity_order(weight.cols)});
  }
};

class NormSortSearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "norm-sort"; }

 private:
  SearchResult do_search(ConstMatrixView<double> weight, const GroupingProblem& problem, RandomStream,
                         const SearchBudget&) const override {
    const KroneckerObjective objective(weight, problem);
    SearchResult sorted = evaluated(objective, norm_sorted(weight, problem));
    if (sorted.value >= sorted.start_value) return sorted;
    return evaluated(objective, {identity_order(weight.rows), identity_order(weight.cols)});
  }
};

class RandomSearch final : public PermutationSearch {
 public:
  explicit RandomSearch(Index num_samples) : num_samples_(num_samples) {
    if (num_samples < 1) throw ConfigError(fmt::format("random: {} samples, expected at least 1", num_samples));
  }
  std::string_view kind() const override { return "random"; }

 private:
  /// The identity is the start, so the result is never worse than no permutation.
  SearchResult do_search(ConstMatrixView<double> weight, const GroupingProblem& problem, RandomStream random,
                         const SearchBudget& budget) const override {
    const double started = now_s();
    const KroneckerObjective objective(weight, problem);
    SearchResult best = evaluated(objective, {identity_order(weight.rows), identity_order(weight.cols)});
    for (Index sample = 0; sample < num_samples_; ++sample) {
      if (best.evaluated >= budget.max_evaluations) {
        best.convergence.reason = Convergence::Reason::max_iterations;
        break;
      }
      if (budget.time_limit_s > 0 && now_s() - started > budget.time_limit_s) {
        best.convergence.reason = Convergence::Reason::time_limit;
        break;
      }
      auto stream = random.child(static_cast<std::uint64_t>(sample));
      Grouping grouping{stream.permutation(weight.rows), stream.permutation(weight.cols)};
      const double value = objective.value(grouping.rows, grouping.columns);
      ++best.evaluated;
      if (value <= best.value) continue;
      ++best.accepted;
      best.value = value, best.rows = std::move(grouping.rows), best.columns = std::move(grouping.columns);
      best.curve.push_back({best.evaluated, now_s() - started, value});
    }
    return best;
  }

  Index num_samples_;
};

}  // namespace

std::unique_ptr<PermutationSearch> make_identity_search() { return std::make_unique<IdentitySearch>(); }
std::unique_ptr<PermutationSearch> make_norm_sort_search() { return std::make_unique<NormSortSearch>(); }
std::unique_ptr<PermutationSearch> make_random_search(Index num_samples) {
  return std::make_unique<RandomSearch>(num_samples);
}

}  // namespace kronlab::decompositions
