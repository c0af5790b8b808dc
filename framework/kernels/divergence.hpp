#pragma once

#include <span>

#include "framework/tensor/tensor.hpp"

namespace kronlab::kernels {

/// How far a model's distribution of the next token is from a reference's: p = softmax(reference), q = softmax(logits).
struct RowDivergence {
  double kl = 0.0;                     ///< KL(p || q), nat
  double jsd = 0.0;                    ///< 1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q) / 2; nat, at most ln 2
  double reference_probability = 0.0;  ///< p[target]
  double probability = 0.0;            ///< q[target]
  bool has_same_first = false;         ///< whether p's most likely token is q's (the lowest index among equals)
  int num_shared_of_5 = 0;             ///< how many of p's five most likely tokens are among q's
};

/// reference, logits: [n, V] f32 or f64 of one type, V >= 5; targets and rows: n.
///
/// With d = log p - log q taken as one difference, KL(p || q) = Σ p (d - 1 + e^-d) and JSD = 1/2 Σ (p - q) d / 2 - (p + q) log cosh(d / 2):
/// no term is negative, and where the two are near none is larger than what it adds. Sums of 1024 terms in the logits' type,
/// those sums in double: bit-equal for any number of threads.
void divergences(ConstTensorView reference, ConstTensorView logits, std::span<const std::int32_t> targets, std::span<RowDivergence> rows);

}  // namespace kronlab::kernels
