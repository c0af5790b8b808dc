#include "decompositions/permutation/sweeps.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "framework/kernels/vector_math.hpp"
#include "framework/linalg/assignment.hpp"
#include "framework/linalg/matching.hpp"

namespace kronlab::decompositions {
namespace {

/// Below, a gain over a temperature may not be a number.
constexpr float coldest = 1e-30F;

/// Draws a place with probability proportional to exp(gain / temperature).
class BoltzmannDraw {
 public:
  Index operator()(std::span<const float> gains, double temperature, double uniform) {
    double left = uniform * weigh(gains, temperature);
    const auto n = static_cast<Index>(gains.size());
    Index first = 0;
    for (const float sum : block_sums_) {
      if (left < static_cast<double>(sum)) break;
      left -= static_cast<double>(sum), first += block;
    }
    if (first >= n) first = (n - 1) / block * block;
    for (Index k = first; k < std::min(first + block, n); ++k) {
      left -= static_cast<double>(weights_[static_cast<std::size_t>(k)]);
      if (left < 0) return k;
    }
    return static_cast<Index>(std::max_element(gains.begin(), gains.end()) - gains.begin());  // rounding at an end
  }

  double probability(std::span<const float> gains, double temperature, Index place) {
    const double total = weigh(gains, temperature);
    return static_cast<double>(weights_[static_cast<std::size_t>(place)]) / total;
  }

 private:
  static constexpr Index block = 64;

  /// Weights, their sums by blocks, and the sum of all.
  double weigh(std::span<const float> gains, double temperature) {
    const auto n = static_cast<Index>(gains.size());
    const float* gain = gains.data();
    weights_.resize(gains.size());
    float* weight = weights_.data();
    float largest = gain[0];
#pragma omp simd reduction(max : largest)
    for (Index k = 0; k < n; ++k) largest = std::max(largest, gain[k]);
    const float inverse = 1 / std::max(static_cast<float>(temperature), coldest);
    double total = 0;
    block_sums_.clear();
    for (Index first = 0; first < n; first += block) {
      const Index last = std::min(first + block, n);
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Index k = first; k < last; ++k) {
        weight[k] = kernels::exponential((gain[k] - largest) * inverse);
        sum += weight[k];
      }
      block_sums_.push_back(sum);
      total += static_cast<double>(sum);
    }
    return total;
  }

  std::vector<float> weights_, block_sums_;
};

}  // namespace

SweepCount descend(AxisMoves& moves) {
  SweepCount count;
  for (Index i = 0; i < moves.size(); ++i) {
    const auto gains = moves.gains(i);
    count.evaluated += moves.size() - 1;
    const auto best = std::ranges::max_element(gains);
    if (*best <= moves.noise()) continue;
    moves.swap(i, static_cast<Index>(best - gains.begin()));
    ++count.accepted;
  }
  return count;
}

SweepCount heat_bath(AxisMoves& moves, std::span<const double> temperatures, RandomStream& random) {
  SweepCount count;
  BoltzmannDraw draw;
  for (Index i = 0; i < moves.size(); ++i) {
    const auto gains = moves.gains(i);
    count.evaluated += moves.size() - 1;
    const Index place = draw(gains, temperatures[static_cast<std::size_t>(i)], random.uniform());
    if (place == moves.place_of(i)) continue;
    moves.swap(i, place);
    ++count.accepted;
  }
  return count;
}

double temperature_for(AxisMoves& moves, std::span<const double> scales, double acceptance) {
  const Index n = moves.size(), count = std::min<Index>(64, n);
  const auto sampled = [&](Index k) { return k * n / count; };
  Matrix<float> gains(count, n);
  for (Index k = 0; k < count; ++k) std::ranges::copy(moves.gains(sampled(k)), gains.view().row(k).begin());
  BoltzmannDraw draw;
  double low = std::log(1e-7), high = std::log(1e2);
  for (int halving = 0; halving < 24; ++halving) {
    const double middle = (low + high) / 2;
    double stays = 0;
    for (Index k = 0; k < count; ++k) {
      const Index i = sampled(k);
      stays += draw.probability(gains.view().row(k), std::exp(middle) * scales[static_cast<std::size_t>(i)], moves.place_of(i));
    }
    (stays > static_cast<double>(count) * (1 - acceptance) ? low : high) = middle;
  }
  return std::exp(low);
}

SweepCount reassign(AxisMoves& moves) {
  SweepCount count;
  const Index n = moves.num_groups();
  Matrix<float> worth(n, n);
  std::vector<Index> elements(static_cast<std::size_t>(n));
  for (Index position = 0; position < moves.group(); ++position) {
    moves.worths(position, worth);
    count.evaluated += n * n;
    const auto found = linalg::best_assignment(std::as_const(worth).view());
    double present = 0;
    for (Index i = 0; i < n; ++i) present += static_cast<double>(worth(i, i));
    if (found.worth <= present + static_cast<double>(n) * static_cast<double>(moves.noise())) continue;
    for (Index i = 0; i < n; ++i) {
      const Index g = found.column_of_row[static_cast<std::size_t>(i)];
      elements[static_cast<std::size_t>(g)] = moves.element_at(position * n + i);
      count.accepted += g != i;
    }
    moves.reassign(position, elements);
  }
  return count;
}

SweepCount rematch(AxisMoves& moves) {
  KRONLAB_EXPECTS(moves.group() == 2, "a matching in groups of {}", moves.group());
  const Index n = moves.size(), pairs = moves.num_groups();
  Matrix<float> first(n, n), worth(n, n);  // first(i, j): i at position 0, j at position 1
  for (Index i = 0; i < n; ++i) moves.pair_worths(i, first.view().row(i));
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) worth(i, j) = std::max(first(i, j), first(j, i));
  }
  const auto found = linalg::best_matching(std::as_const(worth).view());
  SweepCount count{n * (n - 1) / 2, 0};
  double present = 0;
  for (Index g = 0; g < pairs; ++g) present += static_cast<double>(first(moves.element_at(g), moves.element_at(pairs + g)));
  if (found.worth <= present + static_cast<double>(pairs) * static_cast<double>(moves.noise())) return count;
  std::vector<Index> heads, tails;
  for (Index i = 0; i < n; ++i) {
    const Index j = found.partner[static_cast<std::size_t>(i)];
    if (j < i) continue;
    const bool keeps = first(i, j) >= first(j, i);
    count.accepted += moves.place_of(i) % pairs != moves.place_of(j) % pairs;
    heads.push_back(keeps ? i : j), tails.push_back(keeps ? j : i);
  }
  moves.reassign(0, heads);
  moves.reassign(1, tails);
  return count;
}

}  // namespace kronlab::decompositions
