#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analysis/chosen_table.hpp"
#include "analysis/table_formats.hpp"

namespace kronlab::analysis {

/// A table in a text that people keep: two comments around it say how it was made and from which runs.
///
///   <!-- kronlab-table {"format":"markdown","spec":"half.toml","runs":["..."]} -->
///   | label | ... |
///   <!-- kronlab-table end -->
std::string marked_table(const ChosenTable& chosen, TableFormat format);

/// One that was found in a file.
struct MarkedTable {
  Index line = 0;  ///< of the first comment, counting from 1
  std::size_t begin = 0, end = 0;  ///< of all of it in the text, comments included
  TableArguments arguments;  ///< but the store
  TableFormat format = TableFormat::markdown;
};
/// @throws DataError with the line where a comment cannot be read or its end is missing
std::vector<MarkedTable> marked_tables(const std::string& text, const std::string& file);

}  // namespace kronlab::analysis
