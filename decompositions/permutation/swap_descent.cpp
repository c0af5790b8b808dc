#include <algorithm>
#include <utility>

#include "decompositions/permutation/kronecker_objective.hpp"
#include "decompositions/permutation/starts.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::decompositions {
namespace {

enum class Axis { rows, columns };

/// P with the roles of the axes exchanged: index (s, u) instead of (u, s).
Matrix<double> exchanged(const Matrix<double>& p, Index m2, Index n2) {
  Matrix<double> q(p.rows(), p.cols());
  for (Index a = 0; a < p.rows(); ++a) {
    for (Index b = 0; b < p.cols(); ++b) q(a % n2 * m2 + a / n2, b % n2 * m2 + b / n2) = p(a, b);
  }
  return q;
}

/// One row for each element of the axis, its entries in the other axis' order.
Matrix<double> elements_of(Axis axis, ConstMatrixView<double> weight, const Grouping& grouping) {
  const bool by_rows = axis == Axis::rows;
  const auto& other = by_rows ? grouping.columns : grouping.rows;
  Matrix<double> elements(by_rows ? weight.rows : weight.cols, static_cast<Index>(other.size()));
  for (Index i = 0; i < elements.rows(); ++i) {
    for (Index j = 0; j < elements.cols(); ++j) {
      const Index k = other[static_cast<std::size_t>(j)];
      elements(i, j) = by_rows ? weight(i, k) : weight(k, i);
    }
  }
  return elements;
}

/// One descent from the norm sort. After each sweep the projector is made anew; a sweep never lowers the objective.
class Descent {
 public:
  Descent(ConstMatrixView<double> weight, const GroupingProblem& problem, const SearchBudget& budget)
      : objective_(weight, problem), budget_(budget), started_s_(now_s()), grouping_(norm_sorted(weight, problem)) {
    const Grouping identity{identity_order(weight.rows), identity_order(weight.cols)};
    value_ = objective_.value(grouping_.rows, grouping_.columns);
    const double unsorted = objective_.value(identity.rows, identity.columns);
    if (unsorted > value_) grouping_ = identity, value_ = unsorted;
    result_.start_value = value_;
    record();
  }

  SearchResult run() {
    bool improved = objective_.energy() > 0;
    while (improved && !is_exhausted()) {
      improved = descend(Axis::rows);
      improved = descend(Axis::columns) || improved;
      ++result_.convergence.num_iterations;
    }
    if (!is_exhausted()) result_.convergence.reason = Convergence::Reason::converged;
    result_.rows = std::move(grouping_.rows), result_.columns = std::move(grouping_.columns);
    result_.value = value_;
    return std::move(result_);
  }

 private:
  bool is_exhausted() {
    if (result_.evaluated >= budget_.max_evaluations) {
      result_.convergence.reason = Convergence::Reason::max_iterations;
      return true;
    }
    if (budget_.time_limit_s > 0 && now_s() - started_s_ > budget_.time_limit_s) {
      result_.convergence.reason = Convergence::Reason::time_limit;
      return true;
    }
    return false;
  }

  void record() { result_.curve.push_back({result_.evaluated, now_s() - started_s_, value_}); }

  /// Sweeps along one axis until one finds no swap that improves. Whether any did.
  bool descend(Axis axis) {
    const auto& problem = objective_.problem();
    const bool by_rows = axis == Axis::rows;
    const Index group = by_rows ? problem.right_rows : problem.right_cols;
    if (group == 1) return false;
    const auto elements = elements_of(axis, objective_.weight(), grouping_);
    SwapEngine engine(elements, group, by_rows ? problem.right_cols : problem.right_rows);
    auto& order = by_rows ? grouping_.rows : grouping_.columns;
    bool improved = false;
    while (!is_exhausted()) {
      const auto projector = objective_.projector(objective_.gram(grouping_.rows, grouping_.columns));
      engine.refresh(by_rows ? projector : exchanged(projector, problem.right_rows, problem.right_cols), order);
      const Index accepted = sweep(engine);
      if (accepted == 0) break;
      auto before = std::exchange(order, engine.order());
      const double value = objective_.value(grouping_.rows, grouping_.columns);
      const bool is_worth_it = value > value_ + 1e-9;
      if (value <= value_)
        order = std::move(before);
      else
        value_ = value, result_.accepted += accepted, record();
      improved = improved || is_worth_it;
      if (!is_worth_it) break;
    }
    return improved;
  }

  Index sweep(SwapEngine& engine) {
    Index accepted = 0;
    for (Index i = 0; i < engine.size() && !is_exhausted(); ++i) {
      const auto& gains = engine.gains(i);
      result_.evaluated += engine.size() - 1;
      const auto best = std::ranges::max_element(gains);
      if (*best <= engine.noise()) continue;
      engine.swap(i, static_cast<Index>(best - gains.begin()));
      ++accepted;
    }
    return accepted;
  }

  KroneckerObjective objective_;
  SearchBudget budget_;
  double started_s_;
  Grouping grouping_;
  double value_ = 0.0;
  SearchResult result_;
};

class SwapDescentSearch final : public PermutationSearch {
 public:
  std::string_view kind() const override { return "swap-descent"; }

 private:
  SearchResult do_search(ConstMatrixView<double> weight, const GroupingProblem& problem, RandomStream,
                         const SearchBudget& budget) const override {
    return Descent(weight, problem, budget).run();
  }
};

}  // namespace

std::unique_ptr<PermutationSearch> make_swap_descent_search() { return std::make_unique<SwapDescentSearch>(); }

}  // namespace kronlab::decompositions
