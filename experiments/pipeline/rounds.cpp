#include "experiments/pipeline/rounds.hpp"

#include <algorithm>

#include "framework/base/progress.hpp"

namespace kronlab::experiments {

std::vector<double> median_seconds(std::span<const std::function<void()>> work, double budget_s) {
  constexpr std::size_t least_rounds = 3, most_rounds = 1000;
  std::vector<std::vector<double>> seconds(work.size());
  const double started = now_s();
  for (const auto& piece : work) piece();
  for (std::size_t round = 0; round < least_rounds || (round < most_rounds && now_s() - started < budget_s); ++round) {
    for (std::size_t i = 0; i < work.size(); ++i) {
      const double begin = now_s();
      work[i]();
      seconds[i].push_back(now_s() - begin);
    }
  }
  std::vector<double> medians;
  for (auto& of_one : seconds) {
    const auto middle = of_one.begin() + static_cast<std::ptrdiff_t>(of_one.size() / 2);
    std::ranges::nth_element(of_one, middle);
    medians.push_back(*middle);
  }
  return medians;
}

}  // namespace kronlab::experiments
