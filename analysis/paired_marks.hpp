#pragma once

#include "analysis/result_table.hpp"
#include "analysis/table_columns.hpp"

namespace kronlab::analysis {

/// Marks the best number of each column that has a better and a worse, among the rows whose runs are all done, and those
/// that a paired t-test over the text's windows does not tell from it (p > 0.05, each test for itself). The losses of a
/// row's runs are averaged window by window.
void mark_best(ResultTable& table, const storage::Results& results, const Measured& measured);

}  // namespace kronlab::analysis
