#pragma once

#include <string>
#include <vector>

#include "analysis/json_output.hpp"
#include "analysis/result_table.hpp"

namespace kronlab::analysis {

enum class TableFormat { text, markdown, latex, html, csv };
inline const std::vector<std::string> table_formats = {"text", "markdown", "latex", "html", "csv"};

/// For readers: rounded, units in the headers, the best in bold (text: *), what a paired test does not tell from the best
/// with ≈, what has no paired test with ?, published numbers with [n] and a letter where they were not read in their source; below,
/// what all of that means. LaTeX needs booktabs;
/// HTML is a fragment. csv is for programs: every digit, a column for each error, nothing rounded and nothing below.
std::string print_table(const ResultTable& table, TableFormat format);

/// The same with all sources, for programs.
Json json_table(const ResultTable& table);

/// "time [s]", "stored [MB]".
std::string header_with_unit(const ResultTable& table, std::size_t column);
/// A cell's number as readers see it, "-" where there is none, without marks.
std::string cell_text(const ResultTable& table, const Row& row, std::size_t column);
/// "standard deviation", ...
std::string to_string(ErrorKind kind);

}  // namespace kronlab::analysis
