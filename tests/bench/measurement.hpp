#pragma once

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace kronlab::bench {

/// 0 of nothing.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0.0 : values[values.size() / 2];
}

/// Largest resident memory of this process so far.
struct PeakMemory {
  double mib = 0;
  double without_files_mib = 0;  ///< less the pages of mapped files that are resident now
};

inline PeakMemory peak_memory() {
  std::ifstream status("/proc/self/status");
  std::map<std::string, double> kib;
  double value = 0;
  for (std::string line; std::getline(status, line);) {
    const auto colon = line.find(':');
    if (std::sscanf(line.c_str() + colon + 1, "%lf", &value) == 1) kib[line.substr(0, colon)] = value;
  }
  return {kib["VmHWM"] / 1024, (kib["VmHWM"] - kib["RssFile"]) / 1024};
}

}  // namespace kronlab::bench
