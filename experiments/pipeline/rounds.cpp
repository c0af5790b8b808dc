#include "experiments/pipeline/rounds.hpp"

#include <algorithm>
#include <utility>

#include "framework/base/progress.hpp"

namespace kronlab::experiments {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

std::vector<double> median_seconds(std::span<const std::function<void()>> work, double budget_s) {
  constexpr std::size_t least_rounds = 3, most_rounds = 15;
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
  for (auto& of_one : seconds) medians.push_back(median(std::move(of_one)));
  return medians;
}

}  // namespace kronlab::experiments
