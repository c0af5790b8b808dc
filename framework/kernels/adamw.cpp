#include "framework/kernels/adamw.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace kronlab::kernels {
namespace {

constexpr Index chunk_size = Index{1} << 14;  // elements: 64 KiB of floats, many chunks a thread

/// body(begin, end, chunk) for every chunk of 0 .. n-1, over the threads.
template <class Body>
void for_chunks(Index n, Body body) {
  const Index num_chunks = (n + chunk_size - 1) / chunk_size;
#pragma omp parallel for schedule(static) if (num_chunks > 1)
  for (Index chunk = 0; chunk < num_chunks; ++chunk) {
    body(chunk * chunk_size, std::min(n, (chunk + 1) * chunk_size), chunk);
  }
}

/// In lanes of a fixed number, because a compiler's own choice may depend on the address.
template <class T>
double chunk_sum_of_squares(const T* x, Index n) {
  constexpr Index num_lanes = 16;
  double lanes[num_lanes] = {};
  Index i = 0;
  for (; i + num_lanes <= n; i += num_lanes) {
    for (Index lane = 0; lane < num_lanes; ++lane) {
      const auto value = static_cast<double>(x[i + lane]);
      lanes[lane] += value * value;
    }
  }
  for (Index lane = 0; i < n; ++i, ++lane) lanes[lane] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

template <class T>
double sum_of_squares_in_chunks(std::span<const T> x) {
  const auto n = static_cast<Index>(x.size());
  std::vector<double> sums(static_cast<std::size_t>((n + chunk_size - 1) / chunk_size));
  for_chunks(n, [&](Index begin, Index end, Index chunk) {
    sums[static_cast<std::size_t>(chunk)] = chunk_sum_of_squares(x.data() + begin, end - begin);
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

}  // namespace

template <class T>
void adamw(const AdamWStep& step, std::span<T> value, std::span<const T> gradient, std::span<T> first,
           std::span<T> second) {
  KRONLAB_EXPECTS(gradient.size() == value.size() && first.size() == value.size() && second.size() == value.size(),
                  "adamw: {} values, {} gradients, {} first and {} second moments", value.size(), gradient.size(),
                  first.size(), second.size());
  KRONLAB_EXPECTS(step.step >= 1, "adamw: step is {}, the first is 1", step.step);
  KRONLAB_EXPECTS(step.beta1 >= 0 && step.beta1 < 1 && step.beta2 >= 0 && step.beta2 < 1,
                  "adamw: beta1 = {} and beta2 = {} must be in [0, 1)", step.beta1, step.beta2);
  const auto steps = static_cast<double>(step.step);
  const T kept = static_cast<T>(1 - step.rate * step.weight_decay);
  const T scale = static_cast<T>(step.gradient_scale);
  const T beta2 = static_cast<T>(step.beta2);
  const T new_first = static_cast<T>(1 - step.beta1), new_second = static_cast<T>(1 - step.beta2);
  const T rate = static_cast<T>(step.rate / (1 - std::pow(step.beta1, steps)));
  const T root_correction = static_cast<T>(std::sqrt(1 - std::pow(step.beta2, steps)));
  const T epsilon = static_cast<T>(step.epsilon);
  for_chunks(static_cast<Index>(value.size()), [&](Index begin, Index end, Index) {
    T* const p = value.data();
    T* const m = first.data();
    T* const v = second.data();
    const T* const gradients = gradient.data();
#pragma omp simd
    for (Index i = begin; i < end; ++i) {
      const T g = gradients[i] * scale;
      const T moment = m[i] + new_first * (g - m[i]);
      const T square = v[i] * beta2 + new_second * (g * g);
      m[i] = moment;
      v[i] = square;
      p[i] = p[i] * kept - rate * (moment / (std::sqrt(square) / root_correction + epsilon));
    }
  });
}

template void adamw<float>(const AdamWStep&, std::span<float>, std::span<const float>, std::span<float>,
                           std::span<float>);
template void adamw<double>(const AdamWStep&, std::span<double>, std::span<const double>, std::span<double>,
                            std::span<double>);

double sum_of_squares(std::span<const float> x) { return sum_of_squares_in_chunks(x); }

double sum_of_squares(std::span<const double> x) { return sum_of_squares_in_chunks(x); }

}  // namespace kronlab::kernels
