#include "experiments/pipeline/rank_speeds.hpp"

#include <algorithm>
#include <cmath>

#include "framework/base/progress.hpp"
#include "framework/linalg/gemm.hpp"

namespace kronlab::experiments {
namespace {

/// The best of some repeats of a product that fits every cache.
double product_s() {
  constexpr Index size = 256;
  constexpr int num_repeats = 32;
  Matrix<double> a(size, size), b(size, size), c(size, size);
  for (Index i = 0; i < a.size(); ++i) a.data()[i] = b.data()[i] = 1.0 / static_cast<double>(i + 1);
  double best = 1e9;
  for (int i = 0; i < num_repeats; ++i) {
    const double started = now_s();
    linalg::gemm(linalg::Transpose::no, a.view(), linalg::Transpose::no, b.view(), 0.0, c.view());
    best = std::min(best, now_s() - started);
  }
  return std::max(best, 1e-9);
}

}  // namespace

std::vector<double> speeds_from(std::vector<double> seconds) {
  auto sorted = seconds;
  std::ranges::sort(sorted);
  const double median = sorted[(sorted.size() - 1) / 2];
  for (double& value : seconds) {
    const double speed = median / value;
    value = speed >= 0.75 && speed <= 1.25 ? 1.0 : std::clamp(std::round(8 * speed) / 8, 0.125, 8.0);
  }
  return seconds;
}

std::vector<double> speeds_after(const std::vector<double>& before, const std::vector<double>& costs, const std::vector<double>& seconds, double least_s) {
  std::vector<double> paces;  // seconds of a unit of cost at speed 1, of those that tell
  const auto tells = [&](std::size_t rank) { return costs[rank] > 0 && seconds[rank] >= least_s; };
  for (std::size_t rank = 0; rank < before.size(); ++rank) {
    if (tells(rank)) paces.push_back(seconds[rank] / costs[rank] * before[rank]);
  }
  if (paces.size() < 2) return before;
  std::ranges::sort(paces);
  const double median = paces[(paces.size() - 1) / 2];
  std::vector<double> of_equal_work(before.size());
  for (std::size_t rank = 0; rank < before.size(); ++rank) of_equal_work[rank] = tells(rank) ? seconds[rank] / costs[rank] : median / before[rank];
  return speeds_from(std::move(of_equal_work));
}

namespace {

/// Each rank's own number, known to all. Collective.
std::vector<double> of_all_ranks(const comm::Communicator& communicator, double own) {
  std::vector<double> numbers(static_cast<std::size_t>(communicator.size()));
  numbers[static_cast<std::size_t>(communicator.rank())] = own;
  communicator.sum(std::span(numbers));
  return numbers;
}

void report(const std::vector<double>& speeds) {
  const double slowest = std::ranges::min(speeds);
  if (slowest >= 1) return;
  const auto count = std::ranges::count_if(speeds, [](double speed) { return speed < 1; });
  log_info(fmt::format("{} of {} ranks are slower than the others, down to {} of their speed: they get less to do", count, speeds.size(), slowest));
}

}  // namespace

std::vector<double> rank_speeds(const comm::Communicator& communicator) {
  if (communicator.size() == 1) return {1.0};
  communicator.barrier();
  auto speeds = speeds_from(of_all_ranks(communicator, comm::coordinate(communicator, product_s)));
  report(speeds);
  return speeds;
}

std::vector<double> speeds_after(const comm::Communicator& communicator, const std::vector<double>& before, const std::vector<double>& costs,
                                 double own_seconds) {
  if (communicator.size() == 1) return before;
  auto speeds = speeds_after(before, costs, of_all_ranks(communicator, own_seconds));
  if (speeds != before) report(speeds);
  return speeds;
}

}  // namespace kronlab::experiments
