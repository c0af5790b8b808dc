#pragma once

#include <set>
#include <string>
#include <vector>

#include "analysis/result_table.hpp"

namespace kronlab::analysis {

/// What the runs of a table have to show.
struct Measured {
  std::vector<storage::Measure> measures;
  std::vector<std::string> varied;  ///< paths that the runs vary
  /// The beginnings of the SHA-256 of all texts that were read under a data set's name and a protocol.
  std::set<std::string> texts_of(const std::string& dataset, const std::string& protocol) const;
  std::vector<std::vector<storage::EvaluationRecord>> evaluations;  ///< of each run
};

/// The columns that `spec` asks for, each of one measure, on one text. @throws ConfigError as result_table
std::vector<Column> columns_of(const TableSpec& spec, const Measured& measured, bool has_groups);

/// The evaluation behind a number of a run, with the losses of its windows; null where it was not recorded.
const storage::EvaluationRecord* evaluation_of(const std::vector<storage::EvaluationRecord>& evaluations, const storage::Measure& measure,
                                               const storage::Value& value);

}  // namespace kronlab::analysis
