#include "slurm/slurm_units.hpp"

#include <fmt/format.h>

#include <charconv>
#include <vector>

namespace kronlab::slurm {
namespace {

/// A number of at most nine digits.
std::optional<Index> parse_count(std::string_view text) {
  Index value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.size() > 9 || text.front() == '-' || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Index> parse_time(std::string_view text) {
  const auto dash = text.find('-');
  const bool has_days = dash != std::string_view::npos;
  const auto days = has_days ? parse_count(text.substr(0, dash)) : Index{0};
  std::vector<Index> parts;
  std::string_view rest = has_days ? text.substr(dash + 1) : text;
  for (bool is_last = false; !is_last;) {
    const auto colon = rest.find(':');
    const auto part = parse_count(rest.substr(0, colon));
    if (!part || parts.size() == 3) return std::nullopt;
    parts.push_back(*part);
    is_last = colon == std::string_view::npos;
    if (!is_last) rest.remove_prefix(colon + 1);
  }
  if (!days) return std::nullopt;
  constexpr Index from_hours[] = {3600, 60, 1};
  const std::size_t first = has_days || parts.size() == 3 ? 0 : 1;  // without days, the first of fewer than three is minutes
  Index seconds = *days * 86400;
  for (std::size_t i = 0; i < parts.size(); ++i) seconds += parts[i] * from_hours[first + i];
  return seconds;
}

std::string time_text(Index seconds) {
  const Index days = seconds / 86400;
  return (days > 0 ? fmt::format("{}-", days) : "") + fmt::format("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
}

std::optional<Index> parse_memory(std::string_view text) {
  if (text.empty()) return std::nullopt;
  constexpr std::string_view units = "KMGT";
  const auto unit = units.find(text.back());
  const auto count = parse_count(unit == std::string_view::npos ? text : text.substr(0, text.size() - 1));
  if (!count) return std::nullopt;
  switch (unit) {
    case 0:
      return (*count + 1023) / 1024;
    case 2:
      return *count << 10;
    case 3:
      return *count << 20;
    default:
      return *count;
  }
}

std::string memory_text(Index mib) { return mib < 1024 ? fmt::format("{} MiB", mib) : fmt::format("{:.1f} GiB", static_cast<double>(mib) / 1024); }

}  // namespace kronlab::slurm
