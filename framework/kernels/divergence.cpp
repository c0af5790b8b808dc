#include "framework/kernels/divergence.hpp"

#include <algorithm>
#include <array>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/strip_sum.hpp"

namespace kronlab::kernels {
namespace {

constexpr Index num_first = 5;

/// Indices of the largest entries, largest first, the lowest index first among equals.
template <class Real>
std::array<Index, num_first> first_of(Index count, const Real* row) {
  std::array<Index, num_first> first{};
  Index found = 0;
  for (Index j = 0; j < count; ++j) {
    if (found == num_first && !(row[j] > row[first[num_first - 1]])) continue;
    Index at = found < num_first ? found++ : num_first - 1;
    for (; at > 0 && row[j] > row[first[static_cast<std::size_t>(at - 1)]]; --at) first[static_cast<std::size_t>(at)] = first[static_cast<std::size_t>(at - 1)];
    first[static_cast<std::size_t>(at)] = j;
  }
  return first;
}

/// By its series where the logarithm would be one of a number near 1 (remainder 3e-9 of the first term).
template <class Real>
Real log_cosh(Real a) {
  const Real size = std::abs(a), square = std::min(a * a, Real{1});
  const Real series = square * (Real{1} / 2 - square * (Real{1} / 12 - square * (Real{1} / 45 - square * (Real{17} / 2520))));
  const Real direct = size + logarithm(Real{0.5} * (Real{1} + exponential(-2 * size)));
  return size < Real{0.125} ? series : direct;
}

/// d - 1 + e^-d of a small d by its series (remainder 1e-8 of the first term).
template <class Real>
Real excess(Real d) {
  return d * d * (Real{1} / 2 - d * (Real{1} / 6 - d * (Real{1} / 24 - d * (Real{1} / 120 - d * (Real{1} / 720 - d / 5040)))));
}

template <class Real>
RowDivergence divergence_of(Index count, const Real* reference, const Real* logits, std::int32_t target) {
  const double norm_p = log_sum_exp(count, reference, Real{1}), norm_q = log_sum_exp(count, logits, Real{1});
  const Real of_p = static_cast<Real>(norm_p), shift = static_cast<Real>(norm_p - norm_q);
  RowDivergence row;
  row.kl = strip_sum<Real>(count, [=](Index j) {
    const Real p = exponential(reference[j] - of_p), q = exponential((logits[j] - of_p) + shift);
    const Real d = (reference[j] - logits[j]) - shift;
    return std::abs(d) < Real{0.25} ? p * excess(d) : p * d + (q - p);
  });
  row.jsd = 0.5 * strip_sum<Real>(count, [=](Index j) {
    const Real p = exponential(reference[j] - of_p), q = exponential((logits[j] - of_p) + shift);
    const Real half_d = Real{0.5} * ((reference[j] - logits[j]) - shift);
    return (p - q) * half_d - (p + q) * log_cosh(half_d);
  });
  row.reference_probability = std::exp(static_cast<double>(reference[target]) - norm_p);
  row.probability = std::exp(static_cast<double>(logits[target]) - norm_q);
  const auto first_p = first_of(count, reference), first_q = first_of(count, logits);
  row.has_same_first = first_p.front() == first_q.front();
  for (const Index j : first_p) row.num_shared_of_5 += std::ranges::find(first_q, j) != first_q.end();
  return row;
}

}  // namespace

void divergences(ConstTensorView reference, ConstTensorView logits, std::span<const std::int32_t> targets, std::span<RowDivergence> rows) {
  KRONLAB_EXPECTS(reference.rows == logits.rows && reference.cols == logits.cols && reference.dtype == logits.dtype && logits.cols >= num_first,
                  "divergence of {} [{}, {}] from {} [{}, {}]", to_string(logits.dtype), logits.rows, logits.cols, to_string(reference.dtype), reference.rows,
                  reference.cols);
  KRONLAB_EXPECTS(static_cast<Index>(targets.size()) == logits.rows && rows.size() == targets.size(), "{} targets, {} results for {} rows", targets.size(),
                  rows.size(), logits.rows);
  for (const auto target : targets) KRONLAB_EXPECTS(target >= 0 && target < logits.cols, "target {} of {} logits", target, logits.cols);
  for_real_type(logits.dtype, [&]<class Real>(Real) {
    const auto p = reference.as<Real>(), q = logits.as<Real>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < logits.rows; ++i) {
      const auto at = static_cast<std::size_t>(i);
      rows[at] = divergence_of<Real>(logits.cols, p.data + i * p.stride, q.data + i * q.stride, targets[at]);
    }
  });
}

}  // namespace kronlab::kernels
