#include "experiments/pipeline/summary_table.hpp"

#include <filesystem>

#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::experiments {
namespace {

std::string number(const std::optional<double>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "-";
}

}  // namespace

std::string summary_table(const std::string& store_path, const std::vector<std::string>& run_ids) {
  std::vector<storage::RunReader> runs;
  for (const auto& id : run_ids) runs.emplace_back(std::filesystem::path(store_path) / "runs" / id);
  if (runs.empty()) return "";
  const auto results = storage::results_of(runs);
  using enum TextTable::Align;
  TextTable table{{{"run", left}, {"parameters", right}, {"stored", right}}, {}};
  std::string footer;
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    table.columns.push_back({fmt::format("perplexity [{}]", m + 1), right});
    footer += fmt::format("[{}] {}\n", m + 1, storage::place_of(results.measures[m]));
  }
  for (const char* title : {"error", "weighted", "time"}) table.columns.push_back({title, right});
  for (const auto& row : results.rows) {
    std::vector<std::string> cells{row.label, row.num_parameters ? format_count(*row.num_parameters) : "-",
                                   row.stored_bytes ? format_bytes(*row.stored_bytes) : "-"};
    for (const auto& value : row.measured) cells.push_back(storage::format_value(value));
    cells.push_back(number(row.relative_error, "{:.4f}"));
    cells.push_back(number(row.weighted_error, "{:.4f}"));
    cells.push_back(row.seconds ? format_duration(*row.seconds) : "-");
    table.rows.push_back(std::move(cells));
  }
  return table.print(TextTable::Format::text) + footer +
         "error: mean over layers of |W - W^| / |W|; weighted: the same under the second moments of the layer's "
         "inputs\n";
}

}  // namespace kronlab::experiments
