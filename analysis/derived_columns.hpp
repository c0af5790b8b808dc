#pragma once

#include "analysis/result_table.hpp"

namespace kronlab::analysis {

/// Whether a column is computed from others of its table.
bool is_derived(const ColumnSpec& column);

/// Fills the columns that are computed from others. "ratio-to-dense": a measured number over the smallest one of the table's dense models,
/// a published one over what was published of the dense model on the same data set under the same protocol. "difference": the first
/// column minus the second. @throws ConfigError for a header that is none, or a column without a number
void add_derived(ResultTable& table);

}  // namespace kronlab::analysis
