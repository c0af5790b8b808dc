#pragma once

#include <cmath>

#include "decompositions/budget/budget_problem.hpp"
#include "framework/base/random.hpp"

namespace kronlab::testing {

/// How damage goes with size.
enum class Damages {
  measured,    ///< convex in the share that is kept, by a power that differs between units, with the noise of
               ///< measurements
  correlated,  ///< nearly proportional to the bytes saved, the same for all units: the hardest
  unrelated,
};

/// Units as a model has them: matrices of three sizes, the first choice dense, sizes from 8 % on, some of them slower
/// than dense; with `limits` in bytes (half of dense), in seconds (six tenths), or both.
struct RandomBudget {
  std::size_t num_units = 210, num_choices = 12;
  Damages damages = Damages::measured;
  bool limits_bytes = true, limits_seconds = false;

  decompositions::BudgetProblem problem(RandomStream random) const {
    decompositions::BudgetProblem result;
    double bytes = 0, seconds = 0;
    for (std::size_t u = 0; u < num_units; ++u) {
      constexpr double sizes[] = {4.0 * 576 * 1536, 4.0 * 576 * 576, 4.0 * 576 * 192};
      const double dense = sizes[random.below(3)], dense_seconds = dense * 1e-10 * (0.8 + 0.4 * random.uniform());
      const double sensitivity = std::exp(1.5 * random.normal()) * dense / 3e8, power = 2 + 0.3 * random.normal();
      bytes += dense, seconds += dense_seconds;
      result.units.push_back({{0.0, dense, dense_seconds}});
      for (std::size_t c = 1; c < num_choices; ++c) {
        const double keep = 0.08 + 0.88 * static_cast<double>(c - 1) / static_cast<double>(num_choices - 1),
                     own = std::floor(dense * keep);
        const double damage = damages == Damages::measured
                                  ? sensitivity * std::pow(1 - keep, power) * std::exp(0.3 * random.normal())
                              : damages == Damages::correlated ? (dense - own) / 1e9 * (1 + 1e-3 * random.normal())
                                                               : sensitivity * random.uniform();
        result.units.back().push_back(
            {damage, own, dense_seconds * (0.2 + 0.9 * keep) * std::exp(0.1 * random.normal())});
      }
    }
    if (limits_bytes) result.max_bytes = 0.5 * bytes;
    if (limits_seconds) result.max_seconds = 0.6 * seconds;
    return result;
  }
};

}  // namespace kronlab::testing
