#pragma once

#include <string>
#include <vector>

#include "framework/base/metric.hpp"

namespace kronlab::storage {

/// "83.1 % of the dense model's bytes, but slower: 0.71x (forward tokens=64), 0.90x (generate tokens=1)" where a run's
/// last model is stored in fewer bytes than the dense one and slower than it in some batch, by more than such
/// measurements vary; else empty.
std::string slowdown_of(const std::vector<Metric>& metrics);

/// The places in which the speed of a model was measured beside the dense one's, in the sequence of their recording.
std::vector<std::string> speed_protocols(const std::vector<Metric>& metrics);

}  // namespace kronlab::storage
