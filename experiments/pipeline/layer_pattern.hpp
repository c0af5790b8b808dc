#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kronlab::experiments {

/// Whether a layer's name fits a pattern: `*` stands for any text without a dot, `{a,b}` for one of several, `{3..7}`
/// for one of a range of numbers; all else, brackets too, for itself. `h.{1,3,5}.mlp.*`, `h.*.attn.c_attn[q]`,
/// `wte.left`.
/// @throws ConfigError on a brace that does not close, a range that is none, or a pattern that stands for too many names
bool matches_layer(std::string_view pattern, std::string_view name);

/// @throws ConfigError as above
void expect_layer_pattern(std::string_view pattern);

/// The names that any of the patterns fits, in the sequence of `names`.
/// @throws ConfigError as above, and naming a pattern that fits no layer
std::vector<std::string> select_layers(const std::vector<std::string>& patterns, const std::vector<std::string>& names);

}  // namespace kronlab::experiments
