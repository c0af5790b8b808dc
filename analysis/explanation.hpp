#pragma once

#include <string>

#include "analysis/chosen_table.hpp"

namespace kronlab::analysis {

/// A place in a table.
struct CellAddress {
  std::size_t row = 0, column = 0;
};
/// "ROW:COLUMN": each a number counting from 1, a label or header, or a part that only one has.
/// @throws ConfigError with what there is
CellAddress cell_address(const ResultTable& table, const std::string& text);

/// From a number back to the runs, the rows of their records, and the arithmetic between.
std::string explanation(const ChosenTable& chosen, CellAddress address);

}  // namespace kronlab::analysis
