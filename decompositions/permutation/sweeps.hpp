#pragma once

#include "decompositions/permutation/permutation_objective.hpp"
#include "framework/base/random.hpp"

namespace kronlab::decompositions {

/// What a sweep over the elements of an axis did.
struct SweepCount {
  Index evaluated = 0;  ///< candidate moves
  Index accepted = 0;
};

/// Every element in turn changes places with the partner that gains most, if any does.
SweepCount descend(AxisMoves& moves);

/// Every element in turn changes places with a partner drawn with probability proportional to exp(gain / temperature),
/// itself included: Gibbs sampling of the linearised objective, in which no draw is rejected.  temperatures: by element
///
/// Geman and Geman, Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images, 1984.
SweepCount heat_bath(AxisMoves& moves, std::span<const double> temperatures, RandomStream& random);

/// The factor of `scales` that makes temperatures at which elements would move with this probability on the mean over some
/// of them, spread evenly.  scales: by element
double temperature_for(AxisMoves& moves, std::span<const double> scales, double acceptance);

/// Position after position, its elements go to the groups where they are worth most, all others as they are: an exact
/// linear assignment for the linearised objective. Nothing moves where that gains no more than rounding.
SweepCount reassign(AxisMoves& moves);

/// All pairs anew, the best of all for the linearised objective: an exact matching. Groups of two only. Nothing moves
/// where that gains no more than rounding. Memory 8 m^2 bytes.
SweepCount rematch(AxisMoves& moves);

}  // namespace kronlab::decompositions
