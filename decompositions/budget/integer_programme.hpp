#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace kronlab::decompositions {

/// One of several columns is taken in each group, so that the sum of costs is least and no row's sum is above 1.
struct ChoiceProgramme {
  struct Column {
    double cost = 0.0;
    std::vector<double> shares;  ///< of each row
  };
  std::vector<std::vector<Column>> groups;
  std::size_t num_rows = 0;
};

struct ChoiceProgrammeResult {
  std::optional<std::vector<std::size_t>> columns;  ///< taken, by group; nothing: none was found
  bool is_infeasible = false;                       ///< none exists
  double lower_bound = 0.0;                         ///< of the costs' sum
};

/// By branch and cut, until costs and bound are `gap` apart (relative to the costs) or the time is over. Rows hold
/// within 1e-10.
ChoiceProgrammeResult solve(const ChoiceProgramme& programme, double gap, double time_limit_s);

}  // namespace kronlab::decompositions
