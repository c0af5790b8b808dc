#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/base/metric.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::storage {

/// What makes two measured numbers comparable: all of it must be equal for them to share a column.
struct Measure {
  std::string name;
  std::string unit;
  std::string dataset;
  std::string protocol;
  bool operator==(const Measure&) const = default;
};
Measure measure_of(const Metric& metric);

/// A value of a table, with its standard error where it has one, and when it was recorded.
struct Value {
  double value = 0.0;
  std::optional<double> standard_error;
  Index stage = -1;
  Index step = 0;
};

/// A run, or the dense model that runs started from, as one row.
struct ResultRow {
  std::size_t run = 0;  ///< position among the runs that were given
  std::string run_id;  ///< of the run; for the dense model that of the first run with these numbers
  bool is_dense = false;
  std::string label;  ///< unique in the table
  std::string state;
  NamedTexts parameters;
  std::optional<double> num_parameters;
  std::optional<double> stored_bytes;
  std::vector<std::optional<Value>> measured;  ///< one for each of the table's measures
  std::optional<double> relative_error;        ///< mean over the layers, each at its last stage
  std::optional<double> weighted_error;        ///< mean over the layers that have one
  std::optional<double> seconds;
};

struct Results {
  std::vector<Measure> measures;             ///< those that were asked for
  std::vector<std::string> parameter_names;  ///< what the runs vary
  std::vector<ResultRow> rows;               ///< dense models first, then the runs as given
};

/// The last metric of that name in a whole model: of the highest stage (at least `first_stage`), step, and recording.
/// Metrics of single layers do not count.
std::optional<Metric> last_metric(const std::vector<Metric>& metrics, const Measure& measure, Index first_stage,
                                  Index last_stage);

/// Which measurements of a run get a row.
enum class RowsOfRun {
  last,  ///< what the run came to
  all,   ///< every stage after its compression, and after its training
};

/// What was measured of whole models in any of the runs, by name, dataset and protocol.
std::vector<Measure> measures_of(const std::vector<RunReader>& runs);

/// One row per different dense model, and for each run as `rows` says. Measured is `measures`, or perplexities if there are
/// none.
Results results_of(const std::vector<RunReader>& runs, RowsOfRun rows = RowsOfRun::last, std::vector<Measure> measures = {});

/// "wikitext-2, token-perplexity window=1024".
std::string place_of(const Measure& measure);
/// "29.52 ± 0.25"; "-" where there is none.
std::string format_value(const std::optional<Value>& value);

}  // namespace kronlab::storage
