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

std::vector<double> rank_speeds(const comm::Communicator& communicator) {
  std::vector<double> seconds(static_cast<std::size_t>(communicator.size()), 1.0);
  if (communicator.size() == 1) return seconds;
  std::ranges::fill(seconds, 0.0);
  communicator.barrier();
  comm::coordinate(communicator, [&] { seconds[static_cast<std::size_t>(communicator.rank())] = product_s(); });
  communicator.sum(std::span(seconds));  // each number is of one rank
  auto speeds = speeds_from(std::move(seconds));
  if (const double slowest = std::ranges::min(speeds); slowest < 1) {
    const auto count = std::ranges::count_if(speeds, [](double speed) { return speed < 1; });
    log_info(fmt::format("{} of {} ranks are slower than the others, down to {} of their speed: they get less to do", count, speeds.size(), slowest));
  }
  return speeds;
}

}  // namespace kronlab::experiments
