#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/config/strict_table.hpp"

namespace kronlab::experiments {

/// `[budget]`: what the units of a sensitivity profile may take together, for `kronlab budget`.
struct BudgetSpec {
  std::optional<double> bytes;          ///< as a share of the units' dense bytes
  std::optional<double> megabytes;      ///< the same, 1e6 bytes
  std::optional<double> time;           ///< of one token, as a share of the units' dense time
  std::vector<std::string> keep_dense;  ///< patterns of layers whose units are not compressed
  double at_least = 0.0;                ///< share of its dense bytes that each unit keeps
  double gap = 1e-3;                    ///< at which the search for the best allocation may end

  /// @throws ConfigError as StrictTable, and on no limit, or one of bytes in two ways
  static BudgetSpec from(const config::StrictTable& table);
};

}  // namespace kronlab::experiments
