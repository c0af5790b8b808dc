#include <cmath>
#include <utility>

#include "decompositions/permutation/search_run.hpp"

namespace kronlab::decompositions {
namespace {

/// Where elements of one axis stand, and what they are worth there against a fixed fit.
class Placement {
 public:
  Placement(Matrix<float> products, const std::vector<Index>& order) : products_(std::move(products)), order_(order) {}

  const std::vector<Index>& order() const { return order_; }
  /// Of two entries of the order changing places: half of what the squared distance to the fit loses.
  double gain(Index p, Index q) const {
    const Index i = element(p), j = element(q);
    return static_cast<double>(products_(i, q) - products_(i, p)) + static_cast<double>(products_(j, p) - products_(j, q));
  }
  void swap(Index p, Index q) { std::swap(order_[static_cast<std::size_t>(p)], order_[static_cast<std::size_t>(q)]); }
  double worth(const std::vector<Index>& order) const {
    double sum = 0;
    for (std::size_t p = 0; p < order.size(); ++p) sum += static_cast<double>(products_(order[p], static_cast<Index>(p)));
    return sum;
  }
  void set_order(std::vector<Index> order) { order_ = std::move(order); }

 private:
  Index element(Index p) const { return order_[static_cast<std::size_t>(p)]; }
  Matrix<float> products_;
  std::vector<Index> order_;
};

/// Metropolis' algorithm on random swaps, from the spread of their gains down to a thousandth of it.
SweepCount metropolis(Placement& placement, Index proposals, RandomStream& random) {
  const auto m = static_cast<Index>(placement.order().size());
  const auto draw = [&] { return random.below(m); };
  constexpr int num_samples = 256;
  double squares = 0;
  for (int k = 0; k < num_samples; ++k) {
    const double gain = placement.gain(draw(), draw());
    squares += gain * gain;
  }
  const double hottest = std::sqrt(squares / num_samples), falls_to = 1e-3;
  SweepCount count{num_samples, 0};
  for (Index k = 0; k < proposals; ++k) {
    const Index p = draw(), q = draw();
    const double temperature = hottest * std::pow(falls_to, static_cast<double>(k) / static_cast<double>(proposals));
    ++count.evaluated;
    const double gain = placement.gain(p, q);
    if (p == q || (gain <= 0 && random.uniform() >= std::exp(gain / temperature))) continue;
    placement.swap(p, q);
    ++count.accepted;
  }
  return count;
}

SweepCount best_of_random(Placement& placement, Index num_samples, RandomStream& random) {
  SweepCount count;
  double best = placement.worth(placement.order());
  for (Index sample = 0; sample < num_samples; ++sample) {
    auto order = random.permutation(static_cast<Index>(placement.order().size()));
    const double worth = placement.worth(order);
    ++count.evaluated;
    if (worth <= best) continue;
    best = worth, ++count.accepted;
    placement.set_order(std::move(order));
  }
  return count;
}

class AlternatingSearch final : public PermutationSearch {
 public:
  explicit AlternatingSearch(const AlternatingOptions& options) : options_(options) {
    if (options.num_rounds < 1 || options.num_samples < 1 || options.proposals_per_element < 1) {
      throw ConfigError(fmt::format("alternating: {} rounds of {} samples or {} proposals, expected at least one of each",
                                    options.num_rounds, options.num_samples, options.proposals_per_element));
    }
  }
  std::string_view kind() const override { return "alternating"; }

 private:
  Convergence::Reason do_search(SearchRun& run, RandomStream random) const override {
    const PermutationObjective& objective = run.objective();
    Grouping grouping = identity_grouping(objective);
    run.start(grouping);
    for (Index round = 0; round < options_.num_rounds && objective.energy() > 0 && !run.is_exhausted(); ++round) {
      for (const auto axis : {Axis::rows, Axis::columns}) {
        if (objective.group(axis) == 1) continue;
        Placement placement(objective.products_with_fit(axis, grouping), grouping.of(axis));
        run.count(options_.step == AlternatingOptions::Step::annealing
                      ? metropolis(placement, options_.proposals_per_element * objective.size(axis), random)
                      : best_of_random(placement, options_.num_samples, random));
        grouping.of(axis) = placement.order();
        run.offer(grouping);
      }
      run.count_iteration();
    }
    return Convergence::Reason::max_iterations;
  }

  AlternatingOptions options_;
};

}  // namespace

std::unique_ptr<PermutationSearch> make_alternating_search(const AlternatingOptions& options) {
  return std::make_unique<AlternatingSearch>(options);
}

}  // namespace kronlab::decompositions
