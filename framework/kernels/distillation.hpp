#pragma once

#include <span>

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// Losses between rows of logits over one vocabulary; p = softmax(teacher), q = softmax(student).
///
///   ce          -log q[target]                                     of rows with a target
///   kl          temperature^2 KL(p_T || q_T), both softened by T = temperature (Hinton et al., 2015)
///   reverse_kl  KL(q || p) (Gu et al., MiniLLM, 2024)
///   jsd         1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q) / 2; nats
struct VocabularyLosses {
  double ce = 0.0;
  double kl = 0.0;
  double reverse_kl = 0.0;
  double jsd = 0.0;
};

/// Sums of the losses over the rows, in double and in the sequence of the rows; the student's logits are replaced by the
/// gradient of Σ weight * (sum of the loss), a number a row per loss. A loss of weight 0 costs nothing and is 0, but for
/// ce, which is always there.
///
/// student: [n, V] f32 or f64; teacher: the same, or empty where only ce is wanted; targets: [n], -1 for none.
/// Bit-equal for any number of threads.
VocabularyLosses vocabulary_losses(const VocabularyLosses& weights, double temperature, TensorView student, ConstTensorView teacher,
                                   std::span<const std::int32_t> targets);

/// mean (a - b)^2 over all elements, in double; gradient += weight * its gradient in a, of a's type.
/// a, b: [n, d] f32, f64 or bf16. Bit-equal for any number of threads.
double mean_squared_error(ConstTensorView a, ConstTensorView b, double weight, TensorView gradient);

}  // namespace kronlab::kernels
