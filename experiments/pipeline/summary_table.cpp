#include "experiments/pipeline/summary_table.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/run_results.hpp"
#include "framework/storage/slowdown.hpp"

namespace kronlab::experiments {
namespace {

std::string number(const std::optional<double>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "-";
}

/// Perplexities, then speeds.
std::vector<storage::Measure> shown_measures(const std::vector<storage::RunReader>& runs) {
  const auto all = storage::measures_of(runs);
  std::vector<storage::Measure> shown;
  for (const char* name : {"eval/perplexity", "speed/ratio"}) std::ranges::copy_if(all, std::back_inserter(shown), [&](const auto& measure) { return measure.name == name; });
  return shown;
}

bool has_speed(const storage::Results& results) {
  return std::ranges::any_of(results.measures, [](const auto& measure) { return measure.name == "speed/ratio"; });
}

std::string header_of(const storage::Measure& measure) { return measure.name == "speed/ratio" ? "speed" : "perplexity"; }

std::string value_text(const storage::Measure& measure, const std::optional<storage::Value>& value) {
  if (measure.name == "speed/ratio" && value) return fmt::format("{:.2f}x", value->value);
  return storage::format_value(value);
}

}  // namespace

std::string summary_table(const std::string& store_path, const std::vector<std::string>& run_ids) {
  std::vector<storage::RunReader> runs;
  for (const auto& id : run_ids) runs.emplace_back(std::filesystem::path(store_path) / "runs" / id);
  if (runs.empty()) return "";
  const auto results = storage::results_of(runs, storage::RowsOfRun::last, shown_measures(runs));
  using enum TextTable::Align;
  TextTable table{{{"run", left}, {"parameters", right}, {"stored", right}}, {}};
  std::string footer;
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    table.columns.push_back({fmt::format("{} [{}]", header_of(results.measures[m]), m + 1), right});
    footer += fmt::format("[{}] {}\n", m + 1, storage::place_of(results.measures[m]));
  }
  for (const char* title : {"error", "weighted", "time"}) table.columns.push_back({title, right});
  for (const auto& row : results.rows) {
    std::vector<std::string> cells{row.label, row.num_parameters ? format_count(*row.num_parameters) : "-",
                                   row.stored_bytes ? format_bytes(*row.stored_bytes) : "-"};
    for (std::size_t m = 0; m < row.measured.size(); ++m) cells.push_back(value_text(results.measures[m], row.measured[m]));
    cells.push_back(number(row.relative_error, "{:.4f}"));
    cells.push_back(number(row.weighted_error, "{:.4f}"));
    cells.push_back(row.seconds ? format_duration(*row.seconds) : "-");
    table.rows.push_back(std::move(cells));
  }
  footer += "error: mean over layers of |W - W^| / |W|; weighted: the same under the second moments of the layer's inputs\n";
  if (has_speed(results)) footer += "speed: tokens per second beside the dense model's, measured in the same run\n";
  for (const auto& row : results.rows) {
    const std::string slowdown = row.is_dense ? "" : storage::slowdown_of(runs[row.run].metrics());
    if (!slowdown.empty()) footer += fmt::format("{}: {}\n", row.label, slowdown);
  }
  return table.print(TextTable::Format::text) + footer;
}

}  // namespace kronlab::experiments
