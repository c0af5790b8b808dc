#pragma once

#include <span>
#include <string>
#include <string_view>

namespace kronlab {

/// The candidate that a misspelt name most likely meant: the fewest insertions, deletions, replacements and exchanges
/// of neighbours, at most a third of the name's length; empty if none is that near.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

/// " (did you mean 'num_terms'?)", or nothing.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace kronlab
