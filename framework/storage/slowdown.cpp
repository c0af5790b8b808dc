#include "framework/storage/slowdown.hpp"

#include <algorithm>
#include <limits>

#include "framework/base/error.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::storage {
namespace {

constexpr double least_ratio = 0.97;  // medians of a few rounds vary by some per cent

}  // namespace

std::vector<std::string> speed_protocols(const std::vector<Metric>& metrics) {
  std::vector<std::string> protocols;
  for (const auto& metric : metrics) {
    const bool is_new = std::ranges::find(protocols, metric.protocol) == protocols.end();
    if (metric.name == "speed/ratio" && is_new) protocols.push_back(metric.protocol);
  }
  return protocols;
}

std::string slowdown_of(const std::vector<Metric>& metrics) {
  constexpr Index last = std::numeric_limits<Index>::max();
  const Measure bytes{"size/stored_bytes", "B", "", ""};
  const auto dense = last_metric(metrics, bytes, -1, -1), own = last_metric(metrics, bytes, 0, last);
  if (!dense || !own || own->value >= dense->value) return {};
  std::vector<std::string> slower;
  for (const auto& protocol : speed_protocols(metrics)) {
    const auto ratio = last_metric(metrics, {"speed/ratio", "1", "", protocol}, 0, last);
    if (ratio && ratio->value < least_ratio) slower.push_back(fmt::format("{:.2f}x ({})", ratio->value, protocol));
  }
  if (slower.empty()) return {};
  return fmt::format("{:.1f} % of the dense model's bytes, but slower: {}", 100 * own->value / dense->value,
                     fmt::join(slower, ", "));
}

}  // namespace kronlab::storage
