#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace kronlab::decompositions {

/// One of the forms that a unit may be stored in.
struct BudgetChoice {
  double damage = 0.0;   ///< what it costs the model alone, in any unit: damages are added; below 0 where it does good
  double bytes = 0.0;    ///< stored
  double seconds = 0.0;  ///< of one token
};

/// Which choice does each unit get, so that the damages' sum is least and all together keep within bytes, seconds, or
/// both?
struct BudgetProblem {
  std::vector<std::vector<BudgetChoice>> units;
  std::optional<double> max_bytes, max_seconds;

  /// @throws DataError on no unit, a unit without a choice, a damage that is not finite, or bytes or seconds that are
  /// not finite or below 0; ConfigError on a limit that is not finite or below 0
  void check() const;
};

/// A choice for each unit, and what they sum to.
struct Allocation {
  std::vector<std::size_t> choices;
  double damage = 0.0, bytes = 0.0, seconds = 0.0;

  /// The sums of these choices, in the sequence of the units.
  static Allocation of(const BudgetProblem& problem, std::vector<std::size_t> choices);
  /// Within the problem's limits, but for the rounding of sums.
  bool fits(const BudgetProblem& problem) const;
};

/// Each unit at its least damage, as if there were no limits; of equals, that of fewest bytes, then of least seconds.
Allocation least_damage(const BudgetProblem& problem);

}  // namespace kronlab::decompositions
