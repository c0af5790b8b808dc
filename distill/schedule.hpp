#pragma once

#include "framework/config/strict_table.hpp"

namespace kronlab::distill {

/// The learning rate as a function of the step s = 0 .. n-1 of a run of n steps. With w steps of warm-up, the peak p,
/// the final ratio f and the part t = (s - w) / (n - w) that is done:
///
///   s < w      p (s + 1) / w
///   constant   p
///   linear     p (f + (1 - f) (1 - t))
///   cosine     p (f + (1 - f) (1 + cos(pi t)) / 2)          Loshchilov and Hutter, SGDR, 2017
///   wsd        p until the last `decay_fraction` of the n steps; over these, with t from 0 to 1,
///              p (f + (1 - f) (1 - t)) or p (f + (1 - f) (1 - sqrt(t)))
///
/// t = 1 would be step n, one after the last. wsd is warm-up, stable, decay: Hu et al., MiniCPM, 2024; the square root
/// is that of Hägele et al., Scaling laws and compute-optimal training beyond fixed training durations, 2024.
struct Schedule {
  enum class Kind { constant, linear, cosine, wsd };
  enum class Decay { linear, square_root };

  Kind kind = Kind::constant;
  Index warmup = 0;             ///< steps
  double warmup_fraction = 0;   ///< of all steps, rounded to whole steps; added to `warmup`, one of the two is 0
  double final_ratio = 0;       ///< fraction of the peak at the end, 0 .. 1; constant: not used
  double decay_fraction = 0.2;  ///< of all steps, rounded to whole steps; wsd only
  Decay decay = Decay::linear;  ///< wsd only

  /// From `{ kind = "cosine", warmup = 10, final_ratio = 0.1 }`; kinds "constant" (if none is given), "linear", "cosine", "wsd", and for
  /// wsd `decay = "linear" | "1-sqrt"` and `decay_fraction`. Defaults: as the members', without warm-up. Does not
  /// finish `table`.
  /// @throws ConfigError on an unknown kind, a value out of its limits, both forms of warm-up, or a key that means
  /// nothing for the kind
  static Schedule from(const config::StrictTable& table);

  /// @throws ConfigError if the warm-up (for wsd: warm-up and decay) is longer than the run of `num_steps`
  void expect_fits(Index num_steps) const;

  /// @pre 0 <= step < num_steps
  double rate(double peak, Index step, Index num_steps) const;
};

}  // namespace kronlab::distill
