#include "experiments/pipeline/summary_table.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include "framework/base/progress.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::experiments {
namespace {

using Row = std::vector<std::string>;

/// Columns of perplexity are by data set and protocol: two protocols never share one.
std::string column_of(const Metric& metric) { return metric.dataset + "\n" + metric.protocol; }

/// What a run says of one stage.
struct StageNumbers {
  double parameters = 0, bytes = 0;
  std::map<std::string, std::string> perplexities;
};

StageNumbers numbers_of(const std::vector<Metric>& metrics, std::int64_t stage) {
  StageNumbers numbers;
  for (const auto& metric : metrics) {
    if (metric.stage != stage) continue;
    if (metric.name == "size/parameters") numbers.parameters = metric.value;
    if (metric.name == "size/stored_bytes") numbers.bytes = metric.value;
    if (metric.name == "eval/perplexity") {
      numbers.perplexities[column_of(metric)] =
          fmt::format("{:.2f} ± {:.2f}", metric.value, metric.standard_error.value_or(0.0));
    }
  }
  return numbers;
}

Row row_of(const std::string& label, const StageNumbers& numbers, const std::vector<std::string>& columns) {
  Row row{label, fmt::format("{:.3f} M", numbers.parameters / 1e6), fmt::format("{:.1f}", numbers.bytes / 1e6)};
  for (const auto& column : columns) {
    const auto found = numbers.perplexities.find(column);
    row.push_back(found == numbers.perplexities.end() ? "-" : found->second);
  }
  return row;
}

std::string mean_text(const std::vector<double>& values) {
  if (values.empty()) return "-";
  double sum = 0;
  for (const double value : values) sum += value;
  return fmt::format("{:.4f}", sum / static_cast<double>(values.size()));
}

/// Characters, not bytes, of a UTF-8 text.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string aligned(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      const std::string padding(widths[i] - width_of(rows[r][i]), ' ');
      line += i == 0 ? rows[r][i] + padding : "  " + padding + rows[r][i];
    }
    out += line + "\n";
    if (r == 0) out += std::string(width_of(line), '-') + "\n";
  }
  return out;
}

}  // namespace

std::string summary_table(const std::string& store_path, const std::vector<std::string>& run_ids) {
  std::vector<storage::RunReader> runs;
  std::vector<std::string> columns;
  for (const auto& id : run_ids) {
    runs.emplace_back(std::filesystem::path(store_path) / "runs" / id);
    for (const auto& metric : runs.back().metrics("eval/perplexity")) {
      if (std::ranges::find(columns, column_of(metric)) == columns.end()) columns.push_back(column_of(metric));
    }
  }
  Row header{"run", "parameters", "MB"};
  std::string footer;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const auto split = columns[c].find('\n');
    header.push_back(fmt::format("perplexity [{}] {}", c + 1, columns[c].substr(0, split)));
    footer += fmt::format("[{}] {}\n", c + 1, columns[c].substr(split + 1));
  }
  for (const char* title : {"error", "weighted", "time"}) header.emplace_back(title);
  std::vector<Row> rows{header};
  for (const auto& run : runs) {
    const auto metrics = run.metrics();
    const auto stages = run.stages();
    if (rows.size() == 1) {
      Row dense = row_of("dense", numbers_of(metrics, -1), columns);
      dense.insert(dense.end(), 3, "-");
      rows.push_back(std::move(dense));
    }
    std::vector<double> errors, weighted;
    for (const auto& layer : run.layers()) {
      errors.push_back(layer.relative_error);
      if (layer.weighted_error) weighted.push_back(*layer.weighted_error);
    }
    Row row = row_of(run.description().label, numbers_of(metrics, stages.empty() ? -1 : stages.back().stage), columns);
    row.push_back(mean_text(errors));
    row.push_back(mean_text(weighted));
    row.push_back(format_duration(run.status().seconds));
    rows.push_back(std::move(row));
  }
  if (runs.empty()) return "";
  return aligned(rows) + footer +
         "error: mean over layers of |W - W^| / |W|; weighted: the same under the second moments of the layer's "
         "inputs\n";
}

}  // namespace kronlab::experiments
