// AdamW and the sum of squares against memcpy of the same process: bytes per second of what each must move.
// Usage: bench_adamw [MILLIONS OF PARAMETERS] [ROUNDS]
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "framework/base/progress.hpp"
#include "framework/kernels/adamw.hpp"
#include "tests/bench/measurement.hpp"

using namespace kronlab;
using bench::median;

namespace {

/// Copies with all threads.
void copy(const float* from, float* to, Index n) {
#pragma omp parallel
  {
    const Index part = (n + omp_get_num_threads() - 1) / omp_get_num_threads();
    const Index begin = std::min(n, part * omp_get_thread_num()), end = std::min(n, begin + part);
    std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin) * sizeof(float));
  }
}

template <class Action>
double seconds(Action action) {
  const double start = now_s();
  action();
  return now_s() - start;
}

}  // namespace

int main(int argc, char** argv) {
  const Index n = (argc > 1 ? std::atoll(argv[1]) : 64) * 1000000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 9;
  const auto size = static_cast<std::size_t>(n);
  std::unique_ptr<float[]> value(new float[size]), gradient(new float[size]), first(new float[size]),
      second(new float[size]);
#pragma omp parallel for schedule(static)
  for (Index i = 0; i < n; ++i) {
    value[static_cast<std::size_t>(i)] = 1, gradient[static_cast<std::size_t>(i)] = static_cast<float>(i % 7) - 3;
    first[static_cast<std::size_t>(i)] = 0, second[static_cast<std::size_t>(i)] = 1;
  }
  std::vector<double> copy_s, adamw_s, squares_s;
  double sum = 0;
  for (int round = 0; round < rounds; ++round) {
    copy_s.push_back(seconds([&] { copy(gradient.get(), first.get(), n); }));
    adamw_s.push_back(seconds([&] {
      kernels::adamw<float>({.step = round + 1}, {value.get(), size}, {gradient.get(), size}, {first.get(), size},
                            {second.get(), size});
    }));
    squares_s.push_back(seconds([&] { sum += kernels::sum_of_squares(std::span<const float>(gradient.get(), size)); }));
  }
  const double count = static_cast<double>(n) * 1e-9;
  const double copied = 8 * count / median(copy_s), updated = 28 * count / median(adamw_s),
               summed = 4 * count / median(squares_s);
  fmt::print(
      "threads {}  copy {:.1f} GB/s  adamw {:.1f} GB/s ({:.2f} of copy)  sum_of_squares {:.1f} GB/s ({:.2f} of copy)\n",
      omp_get_max_threads(), copied, updated, updated / copied, summed, summed / copied);
  return sum > 0 ? 0 : 1;
}
