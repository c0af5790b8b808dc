#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

class IdentitySearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "identity"; }

 private:
  Convergence::Reason do_search(SearchRun& run, RandomStream) const override {
    const PermutationObjective& objective = run.objective();
    run.start(identity_grouping(objective));
    return Convergence::Reason::exact;
  }
};

class NormSortSearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "norm-sort"; }

 private:
  Convergence::Reason do_search(SearchRun& run, RandomStream) const override {
    const PermutationObjective& objective = run.objective();
    run.start(identity_grouping(objective));
    run.offer(norm_sorted_grouping(objective));
    return Convergence::Reason::exact;
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
  Convergence::Reason do_search(SearchRun& run, RandomStream random) const override {
    const PermutationObjective& objective = run.objective();
    run.start(identity_grouping(objective));
    run.count({1, 0});
    for (Index sample = 0; sample < num_samples_ && !run.is_exhausted(); ++sample) {
      auto stream = random.child(static_cast<std::uint64_t>(sample));
      auto rows = stream.permutation(objective.size(Axis::rows));
      const double before = run.best_value();
      const double value = run.offer({std::move(rows), stream.permutation(objective.size(Axis::columns))});
      run.count({1, value > before ? 1 : 0});
    }
    return Convergence::Reason::exact;
  }

  Index num_samples_;
};

class SwapDescentSearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "swap-descent"; }

 private:
  Convergence::Reason do_search(SearchRun& run, RandomStream) const override {
    run.start_sorted();
    polished(run, run.best());
    return Convergence::Reason::converged;
  }
};

}  // namespace

std::unique_ptr<PermutationSearch> make_identity_search() { return std::make_unique<IdentitySearch>(); }
std::unique_ptr<PermutationSearch> make_norm_sort_search() { return std::make_unique<NormSortSearch>(); }
std::unique_ptr<PermutationSearch> make_random_search(Index num_samples) {
  return std::make_unique<RandomSearch>(num_samples);
}
std::unique_ptr<PermutationSearch> make_swap_descent_search() { return std::make_unique<SwapDescentSearch>(); }

}  // namespace kronlab::decompositions
