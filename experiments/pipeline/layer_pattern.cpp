#include "experiments/pipeline/layer_pattern.hpp"

#include <algorithm>
#include <charconv>

#include "framework/base/error.hpp"
#include "framework/base/nearest.hpp"
#include "framework/base/types.hpp"

namespace kronlab::experiments {
namespace {

constexpr std::size_t max_length = 1000, max_alternatives = 100'000, max_stars = 8;

bool matches_glob(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern.front() != '*')
    return !name.empty() && name.front() == pattern.front() && matches_glob(pattern.substr(1), name.substr(1));
  for (std::size_t taken = 0;; ++taken) {
    if (matches_glob(pattern.substr(1), name.substr(taken))) return true;
    if (taken == name.size() || name[taken] == '.') return false;
  }
}

Index number_in(std::string_view text, std::string_view pattern) {
  Index value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) {
    throw ConfigError(fmt::format("layer pattern '{}': '{}' is no number of a range", pattern, text));
  }
  return value;
}

std::vector<std::string> choices_of(std::string_view list, std::string_view pattern) {
  std::vector<std::string> choices;
  if (const auto dots = list.find(".."); dots != std::string_view::npos) {
    const Index first = number_in(list.substr(0, dots), pattern), last = number_in(list.substr(dots + 2), pattern);
    if (last < first || last - first > 100'000)
      throw ConfigError(fmt::format("layer pattern '{}': the range '{}' is empty or too long", pattern, list));
    for (Index i = first; i <= last; ++i) choices.push_back(std::to_string(i));
    return choices;
  }
  while (true) {
    const auto comma = list.find(',');
    choices.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return choices;
    list.remove_prefix(comma + 1);
  }
}

/// The pattern without braces: one for each choice.
std::vector<std::string> expanded(std::string_view pattern) {
  if (pattern.size() > max_length) throw ConfigError(fmt::format("layer pattern of {} bytes, expected at most {}", pattern.size(), max_length));
  if (static_cast<std::size_t>(std::ranges::count(pattern, '*')) > max_stars)
    throw ConfigError(fmt::format("layer pattern '{}': more than {} stars", pattern, max_stars));
  const auto open = pattern.find('{');
  if (open == std::string_view::npos) return {std::string(pattern)};
  const auto close = pattern.find('}', open);
  if (close == std::string_view::npos)
    throw ConfigError(fmt::format("layer pattern '{}': a brace does not close", pattern));
  std::vector<std::string> result;
  const auto choices = choices_of(pattern.substr(open + 1, close - open - 1), pattern);
  const auto endings = expanded(pattern.substr(close + 1));
  if (choices.size() * endings.size() > max_alternatives)
    throw ConfigError(fmt::format("layer pattern '{}': stands for more than {} names", pattern, max_alternatives));
  for (const auto& rest : endings) {
    for (const auto& choice : choices) {
      result.push_back(std::string(pattern.substr(0, open)) + choice + rest);
    }
  }
  return result;
}

}  // namespace

void expect_layer_pattern(std::string_view pattern) { expanded(pattern); }

bool matches_layer(std::string_view pattern, std::string_view name) {
  return std::ranges::any_of(expanded(pattern), [&](const std::string& plain) { return matches_glob(plain, name); });
}

std::vector<std::string> select_layers(const std::vector<std::string>& patterns,
                                       const std::vector<std::string>& names) {
  std::vector<bool> is_selected(names.size());
  for (const auto& pattern : patterns) {
    const auto alternatives = expanded(pattern);
    bool fits_any = false;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const bool fits =
          std::ranges::any_of(alternatives, [&](const std::string& plain) { return matches_glob(plain, names[i]); });
      if (fits) is_selected[i] = fits_any = true;
    }
    if (!fits_any) {
      std::vector<std::string> examples(
          names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(names.size(), 12)));
      throw ConfigError(fmt::format("layer pattern '{}' matches nothing{}; layers are {}{}", pattern,
                                    did_you_mean(pattern, names), fmt::join(examples, ", "),
                                    names.size() > examples.size() ? fmt::format(", ... {}", names.back()) : ""));
    }
  }
  std::vector<std::string> selected;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (is_selected[i]) selected.push_back(names[i]);
  }
  return selected;
}

}  // namespace kronlab::experiments
