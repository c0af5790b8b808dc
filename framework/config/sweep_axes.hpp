#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/config/when.hpp"

namespace kronlab::config {

/// The largest number of runs of a sweep, and of values in all of their configurations, which are in memory together.
constexpr std::size_t max_runs = 100'000, max_values = 1'000'000;

/// One position of an axis: what it assigns and how it is called.
struct Choice {
  std::string label;
  std::vector<std::pair<std::string, Value>> assignments;
  When when;
};

/// Choices of which a run has one; none, where the axis or no choice applies to it.
struct Axis {
  std::vector<Choice> choices;
  When when;
};

/// What a sweep multiplies: variants, zips, its own keys by path, grids, seeds. `root` is the file without the sweep.
/// @throws ConfigError on an entry of another form, a misspelt key of the sweep's own, or a `when` on what a later axis
/// sets
std::vector<Axis> axes_of(const Value& sweep, const Value& root);

}  // namespace kronlab::config
