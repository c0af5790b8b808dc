#include "framework/kernels/loss.hpp"

#include <cmath>
#include <limits>

#include "framework/kernels/dispatch.hpp"
#include "framework/kernels/vector_math.hpp"

namespace kronlab::kernels {

StreamingLogLikelihood::StreamingLogLikelihood(std::span<const std::int32_t> targets)
    : targets_(targets), largest_(targets.size(), -std::numeric_limits<double>::infinity()), sum_(targets.size(), 0.0),
      target_logit_(targets.size(), 0.0), best_(targets.size(), 0) {}

void StreamingLogLikelihood::add_slice(ConstTensorView logits, Index first) {
  KRONLAB_EXPECTS(logits.rows == static_cast<Index>(targets_.size()) && logits.cols > 0, "a slice of [{}, {}] logits for {} targets", logits.rows,
                  logits.cols, targets_.size());
  for_activation_type(logits.dtype, [&]<class T>(T) {
    using Real = compute_t<T>;
    const auto values = logits.as<T>();
#pragma omp parallel for schedule(static)
    for (Index i = 0; i < logits.rows; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const T* row = &values.data[i * values.stride];
      Real largest = -std::numeric_limits<Real>::infinity();
#pragma omp simd reduction(max : largest)
      for (Index j = 0; j < logits.cols; ++j) largest = std::max(largest, static_cast<Real>(row[j]));
      // -inf - -inf is no number: a slice of nothing but -inf adds 0, and NaN stays NaN
      const Real shift = std::isinf(largest) && largest < 0 ? Real{0} : largest;
      Real sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Index j = 0; j < logits.cols; ++j) sum += exponential(static_cast<Real>(row[j]) - shift);
      if (largest > largest_[at]) {
        Index position = 0;
        while (static_cast<Real>(row[position]) != largest) ++position;
        best_[at] = static_cast<std::int32_t>(first + position);
        sum_[at] = sum_[at] * std::exp(largest_[at] - largest) + sum;
        largest_[at] = largest;
      } else if (std::isinf(largest) && largest < 0) {
        sum_[at] += sum;  // 0 or NaN
      } else {
        sum_[at] += sum * std::exp(largest - largest_[at]);
      }
      const Index target = targets_[at] - first;
      if (target >= 0 && target < logits.cols) target_logit_[at] = static_cast<Real>(row[target]);
    }
  });
}

void StreamingLogLikelihood::negative_log_likelihood(std::span<double> nll) const {
  KRONLAB_EXPECTS(nll.size() == targets_.size(), "{} results for {} targets", nll.size(), targets_.size());
  for (std::size_t i = 0; i < nll.size(); ++i) nll[i] = largest_[i] + std::log(sum_[i]) - target_logit_[i];
}

}  // namespace kronlab::kernels
