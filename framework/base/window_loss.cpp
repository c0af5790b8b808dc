#include "framework/base/window_loss.hpp"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>

#include "framework/base/error.hpp"

namespace kronlab {

MeanLoss mean_loss(std::span<const WindowLoss> windows) {
  KRONLAB_EXPECTS(!windows.empty(), "the mean loss of no windows");
  double weight = 0, loss = 0;
  for (const auto& window : windows) {
    KRONLAB_EXPECTS(window.weight > 0, "a window of weight {}", window.weight);
    weight += window.weight, loss += window.loss;
  }
  const double mean = loss / weight;
  double squares = 0;
  for (const auto& window : windows) {
    const double deviation = window.loss - mean * window.weight;
    squares += deviation * deviation;
  }
  const auto n = static_cast<double>(windows.size());
  return {mean, n > 1 ? std::sqrt(squares * n / (n - 1)) / weight : 0.0};
}

PairedDifference paired_difference(std::span<const WindowLoss> first, std::span<const WindowLoss> second) {
  if (first.size() != second.size() || first.size() < 2) {
    throw DataError(fmt::format("a paired test of {} and {} windows, expected as many, and at least 2", first.size(), second.size()));
  }
  std::vector<WindowLoss> differences;
  for (std::size_t w = 0; w < first.size(); ++w) {
    if (first[w].weight != second[w].weight) {
      throw DataError(fmt::format("window {} weighs {} and {}, expected the same windows", w, first[w].weight, second[w].weight));
    }
    differences.push_back({first[w].weight, second[w].loss - first[w].loss});
  }
  PairedDifference result{mean_loss(differences), static_cast<Index>(differences.size()), 0.0, 1.0};
  const auto [mean, error] = result.difference;
  if (mean == 0) return result;
  if (std::isnan(mean)) {
    result.t = result.p_value = mean;
    return result;
  }
  result.t = error > 0 ? mean / error : std::copysign(std::numeric_limits<double>::infinity(), mean);
  const boost::math::students_t distribution(static_cast<double>(differences.size() - 1));
  result.p_value = std::isfinite(result.t) ? 2 * boost::math::cdf(boost::math::complement(distribution, std::abs(result.t))) : 0.0;
  return result;
}

}  // namespace kronlab
