#pragma once

#include <span>

#include "framework/base/types.hpp"

namespace kronlab::kernels {

/// The numbers of one step of AdamW. Defaults as PyTorch's.
struct AdamWStep {
  double rate = 1e-3;           ///< learning rate, > 0 or 0: only the moments move
  double beta1 = 0.9;           ///< in [0, 1)
  double beta2 = 0.999;         ///< in [0, 1)
  double epsilon = 1e-8;        ///< added to the root of the second moment
  double weight_decay = 1e-2;   ///< fraction of a value that rate 1 would take away
  Index step = 1;               ///< from 1 on, for the bias correction
  double gradient_scale = 1.0;  ///< what every gradient is multiplied by first: clipping, or the mean of a sum
};

/// One AdamW update of n parameters, as PyTorch's: with g = gradient_scale * gradient,
///
///   value  *= 1 - rate weight_decay
///   first   = first + (1 - beta1) (g - first)
///   second  = beta2 second + (1 - beta2) g^2
///   value  -= rate / (1 - beta1^step) * first / (sqrt(second) / sqrt(1 - beta2^step) + epsilon)
///
/// value, gradient, first, second: [n], none overlapping; first and second are zero before step 1. T is float or
/// double; all is computed in T. One pass over memory, 7 n numbers. Each element depends on its own four numbers only,
/// so that the number of threads and how parameters are cut into calls never change a bit.
///
/// Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
///
/// @pre the four lengths are equal; step >= 1; beta1 and beta2 in [0, 1)
template <class T>
void adamw(const AdamWStep& step, std::span<T> value, std::span<const T> gradient, std::span<T> first,
           std::span<T> second);

/// Sum of x_i^2 in double, as for the norm of a gradient: in fixed chunks whose sums are added in sequence, so that the
/// bits are the same for any number of threads and at any address.
double sum_of_squares(std::span<const float> x);
double sum_of_squares(std::span<const double> x);

}  // namespace kronlab::kernels
