#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <utility>

#include "decompositions/permutation/search_run.hpp"
#include "framework/linalg/matching.hpp"

namespace kronlab::decompositions {
namespace {

/// The best pairing along one direction of B, and a bound for all pairings along it.
struct AtAngle {
  std::vector<Index> order;
  double energy = 0.0;  ///< that the pairing keeps along its own best direction
  double bound = 0.0;
};

/// B = (cos t, sin t), t in [-pi/4, pi/4]: beyond, the same pairs with their elements exchanged. The larger of two
/// elements comes first.
AtAngle best_pairs(const Matrix<double>& gram, double energy, double t) {
  const Index n = gram.rows();
  const double c = std::cos(t), s = std::sin(t);
  Matrix<float> worth(n, n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      const auto [smaller, larger] = std::minmax(gram(i, i), gram(j, j));
      worth(i, j) = static_cast<float>(c * c * larger + s * s * smaller + 2 * c * s * gram(i, j));
    }
  }
  const auto found = linalg::best_matching(std::as_const(worth).view());
  AtAngle result;
  result.bound = found.bound + std::ldexp(energy, -23);  // worths are float32
  double g[3] = {0, 0, 0};                               // G of the pairing: (0, 0), (0, 1), (1, 1)
  for (Index i = 0; i < n; ++i) {
    const Index j = found.partner[static_cast<std::size_t>(i)];
    if (j < i) continue;
    const bool keeps = gram(i, i) >= gram(j, j);
    const Index head = keeps ? i : j, tail = keeps ? j : i;
    result.order.insert(result.order.end(), {head, tail});
    g[0] += gram(head, head), g[1] += gram(head, tail), g[2] += gram(tail, tail);
  }
  result.energy = (g[0] + g[2]) / 2 + std::hypot((g[0] - g[2]) / 2, g[1]);
  return result;
}

class MatchingSearch final : public PermutationSearch {
 public:
  explicit MatchingSearch(const MatchingOptions& options) : options_(options) {
    if (!(options.gap > 0)) throw ConfigError(fmt::format("matching: a gap of {}, expected more than 0", options.gap));
  }
  std::string_view kind() const override { return "matching"; }

 private:
  Convergence::Reason do_search(SearchRun& run, RandomStream) const override {
    const PermutationObjective& objective = run.objective();
    if (objective.group(Axis::rows) != 2 && objective.group(Axis::columns) != 2) {
      throw ConfigError(fmt::format("matching: groups of {} rows and {} columns, expected two of either",
                                    objective.group(Axis::rows), objective.group(Axis::columns)));
    }
    run.start_sorted();
    if (objective.energy() == 0) return Convergence::Reason::exact;
    if (const auto pairs = objective.pair_problem()) {
      certify(run, *pairs);
    } else {
      alternate(run);
    }
    return Convergence::Reason::converged;
  }

  /// A pairing's energy is a sinusoid in 2t between 0 and E, so its second derivative is at most 2 E: between two angles
  /// a distance h apart no pairing exceeds the larger of the bounds there by more than h^2 E / 4. Intervals that leave
  /// more than the gap are halved, level after level.
  void certify(SearchRun& run, const PairProblem& pairs) const {
    constexpr Index num_first = 8;  // intervals at first
    const double energy = run.objective().energy(), quarter = std::numbers::pi / 4;
    std::map<double, AtAngle> known;
    std::vector<double> wanted;
    for (Index k = 0; k <= num_first; ++k) wanted.push_back(quarter * (2.0 * static_cast<double>(k) / static_cast<double>(num_first) - 1));
    double best = 0;
    while (!wanted.empty()) {
      std::vector<AtAngle> found(wanted.size());
#pragma omp parallel for schedule(dynamic, 1)
      for (std::size_t k = 0; k < wanted.size(); ++k) found[k] = best_pairs(pairs.gram, energy, wanted[k]);
      for (std::size_t k = 0; k < wanted.size(); ++k) {
        run.count({pairs.gram.rows() * (pairs.gram.rows() - 1) / 2, 0});
        if (found[k].energy > best) {
          best = found[k].energy;
          Grouping grouping = run.best();
          grouping.of(pairs.axis) = found[k].order;
          run.offer(grouping);
        }
        known[wanted[k]] = std::move(found[k]);
      }
      run.count_iteration();
      wanted.clear();
      const double reached = std::max(best, run.best_value() * energy);
      double bound = 0;
      for (auto at = known.begin(), next = std::next(at); next != known.end(); at = next++) {
        const double h = next->first - at->first;
        const double most = std::max(at->second.bound, next->second.bound) + h * h * energy / 4;
        bound = std::max(bound, most);
        if (most > reached + options_.gap * energy) wanted.push_back((at->first + next->first) / 2);
      }
      run.set_bound(std::min(bound / energy, 1.0));
      if (run.is_exhausted()) return;
    }
  }

  static void alternate(SearchRun& run) {
    Grouping grouping = run.best();
    for (bool improved = true; improved && !run.is_exhausted();) {
      improved = false;
      for (const auto axis : {Axis::rows, Axis::columns}) {
        if (run.objective().group(axis) != 2) continue;
        AxisMoves& moves = run.moves(axis, grouping);
        const auto count = rematch(moves);
        run.count(count);
        grouping.of(axis) = moves.order();
        const double before = run.best_value();
        if (count.accepted > 0) improved = run.offer(grouping) > before + 1e-6 || improved;
      }
      run.count_iteration();
    }
  }

  MatchingOptions options_;
};

}  // namespace

std::unique_ptr<PermutationSearch> make_matching_search(const MatchingOptions& options) {
  return std::make_unique<MatchingSearch>(options);
}

}  // namespace kronlab::decompositions
