#include "framework/storage/run_results.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "framework/base/text_table.hpp"

namespace kronlab::storage {
namespace {

constexpr Index dense_stage = -1, last_possible_stage = std::numeric_limits<Index>::max();

std::optional<double> number_of(const std::vector<Metric>& metrics, const std::string& name, const std::string& unit,
                                Index first_stage, Index last_stage) {
  const auto found = last_metric(metrics, {name, unit, "", ""}, first_stage, last_stage);
  return found ? std::optional(found->value) : std::nullopt;
}

/// The mean of a member over layers, each as its last stage left it; none where no layer has it.
std::optional<double> mean_over_layers(const std::vector<LayerRecord>& layers,
                                       std::optional<double> (*error_of)(const LayerRecord&)) {
  std::map<std::string, std::pair<Index, std::optional<double>>> last;
  for (const auto& layer : layers) {
    auto& [stage, error] = last.try_emplace(layer.layer, dense_stage, std::nullopt).first->second;
    if (layer.stage < stage) continue;
    stage = layer.stage;
    error = error_of(layer);
  }
  double sum = 0.0;
  Index count = 0;
  for (const auto& [name, entry] : last) {
    if (!entry.second) continue;
    sum += *entry.second;
    ++count;
  }
  return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
}

struct Loaded {
  std::size_t position;
  const RunReader* run;
  RunDescription description;
  RunStatus status;
  std::vector<Metric> metrics;
};

void add_measures(std::vector<Measure>& measures, const std::vector<Metric>& metrics) {
  for (const auto& metric : metrics) {
    const Measure measure = measure_of(metric);
    if (metric.layer.empty() && std::ranges::find(measures, measure) == measures.end()) measures.push_back(measure);
  }
}

void sort_by_place(std::vector<Measure>& measures) {
  std::ranges::sort(measures, {}, [](const Measure& m) { return std::tie(m.name, m.dataset, m.protocol, m.unit); });
}

std::vector<Measure> perplexities_of(const std::vector<Loaded>& runs) {
  std::vector<Measure> measures;
  for (const auto& run : runs) add_measures(measures, run.metrics);
  std::erase_if(measures, [](const Measure& measure) { return measure.name != "eval/perplexity"; });
  sort_by_place(measures);
  return measures;
}

ResultRow row_of(const Loaded& run, const std::vector<Measure>& measures, Index first_stage, Index last_stage) {
  ResultRow row;
  row.run = run.position;
  row.run_id = run.run->id();
  row.num_parameters = number_of(run.metrics, "size/parameters", "1", first_stage, last_stage);
  row.stored_bytes = number_of(run.metrics, "size/stored_bytes", "B", first_stage, last_stage);
  for (const auto& measure : measures) {
    const auto found = last_metric(run.metrics, measure, first_stage, last_stage);
    row.measured.push_back(found ? std::optional(Value{found->value, found->standard_error, found->stage, found->step}) : std::nullopt);
  }
  return row;
}

bool is_time(const Measure& measure) { return measure.unit == "s" || measure.unit.ends_with("/s") || measure.name.starts_with("speed/"); }

/// Whether two evaluations of a dense model gave the same, up to the sequence in which ranks were summed and how long it took.
bool is_same(const ResultRow& a, const ResultRow& b, const std::vector<Measure>& measures) {
  for (std::size_t m = 0; m < measures.size(); ++m) {
    const auto &x = a.measured[m], &y = b.measured[m];
    if (is_time(measures[m])) continue;
    if (x.has_value() != y.has_value()) return false;
    if (x && !(std::abs(x->value - y->value) <= 1e-6 * std::abs(y->value)) && x->value != y->value) return false;
  }
  return true;
}

/// Adds a row for the dense model of `run`, unless one with these numbers is there, or what was measured before the first stage is
/// no dense model but a student that is yet to be trained.
void add_dense(std::vector<ResultRow>& rows, const Loaded& run, const std::vector<Measure>& measures) {
  if (std::ranges::any_of(run.description.provenance, [](const auto& entry) { return entry.first == student_start; })) return;
  ResultRow row = row_of(run, measures, dense_stage, dense_stage);
  const bool is_measured = std::ranges::any_of(row.measured, [](const auto& value) { return value.has_value(); });
  if (!is_measured) return;
  row.is_dense = true;
  row.label = fmt::format("dense {}", run.description.model_name);
  const bool is_known = std::ranges::any_of(
      rows, [&](const ResultRow& other) { return other.label == row.label && is_same(other, row, measures); });
  if (!is_known) rows.push_back(std::move(row));
}

/// Adds a row for each measurement of a run before its last one.
void add_earlier(std::vector<ResultRow>& rows, const Loaded& run, const ResultRow& last, const std::vector<Measure>& measures) {
  std::set<std::pair<Index, Index>> moments;  // stage and step
  for (const auto& metric : run.metrics) {
    if (metric.stage >= 0 && std::ranges::find(measures, measure_of(metric)) != measures.end()) moments.emplace(metric.stage, metric.step);
  }
  if (!moments.empty()) moments.erase(std::prev(moments.end()));
  for (const auto& [stage, step] : moments) {
    Loaded then = run;
    std::erase_if(then.metrics, [&](const Metric& metric) { return metric.stage == stage && metric.step > step; });
    ResultRow row = row_of(then, measures, 0, stage);
    row.label = last.label + fmt::format(", stage {} {}", stage, step == 0 ? "compressed" : fmt::format("after {} steps", step));
    row.state = last.state, row.parameters = last.parameters;
    rows.push_back(std::move(row));
  }
}

/// Labels that occur more than once get what their runs vary, and if that does not help the end of their id.
void make_labels_unique(std::vector<ResultRow>& rows) {
  const auto occurrences = [&] {
    std::map<std::string, int> counts;
    for (const auto& row : rows) ++counts[row.label];
    return counts;
  };
  for (const auto counts = occurrences(); auto& row : rows) {
    if (counts.at(row.label) == 1) continue;
    for (const auto& [name, value] : row.parameters) {
      row.label += fmt::format(" {}={}", name.substr(name.rfind('.') + 1), value);
    }
  }
  for (const auto counts = occurrences(); auto& row : rows) {
    if (counts.at(row.label) == 1) continue;
    const auto dash = row.run_id.find('-');
    row.label += " " + row.run_id.substr(dash == std::string::npos ? 0 : dash + 1, 8);
  }
}

}  // namespace

Measure measure_of(const Metric& metric) { return {metric.name, metric.unit, metric.dataset, metric.protocol}; }

std::optional<Metric> last_metric(const std::vector<Metric>& metrics, const Measure& measure, Index first_stage,
                                  Index last_stage) {
  const Metric* last = nullptr;
  for (const auto& metric : metrics) {
    if (!metric.layer.empty() || metric.stage < first_stage || metric.stage > last_stage) continue;
    if (measure_of(metric) != measure) continue;
    if (!last || std::tuple(metric.stage, metric.step) >= std::tuple(last->stage, last->step)) last = &metric;
  }
  return last ? std::optional(*last) : std::nullopt;
}

std::vector<Measure> measures_of(const std::vector<RunReader>& runs) {
  std::vector<Measure> measures;
  for (const auto& run : runs) add_measures(measures, run.metrics());
  sort_by_place(measures);
  return measures;
}

Results results_of(const std::vector<RunReader>& runs, RowsOfRun rows, std::vector<Measure> measures) {
  std::vector<Loaded> loaded;
  for (const auto& run : runs) loaded.push_back({loaded.size(), &run, run.description(), run.status(), run.metrics()});
  Results results;
  results.measures = measures.empty() ? perplexities_of(loaded) : std::move(measures);
  for (const auto& run : loaded) add_dense(results.rows, run, results.measures);
  for (const auto& run : loaded) {
    ResultRow row = row_of(run, results.measures, 0, last_possible_stage);
    row.label = run.description.label.empty() ? run.description.name : run.description.label;
    row.state = to_string(run.status.state);
    row.parameters = run.description.parameters;
    row.seconds = run.status.seconds;
    const auto layers = run.run->layers();
    row.relative_error =
        mean_over_layers(layers, [](const auto& layer) { return std::optional(layer.relative_error); });
    row.weighted_error = mean_over_layers(layers, [](const auto& layer) { return layer.weighted_error; });
    for (const auto& [name, value] : row.parameters) {
      const bool is_new = std::ranges::find(results.parameter_names, name) == results.parameter_names.end();
      if (is_new) results.parameter_names.push_back(name);
    }
    if (rows == RowsOfRun::all) add_earlier(results.rows, run, row, results.measures);
    results.rows.push_back(std::move(row));
  }
  make_labels_unique(results.rows);
  return results;
}

std::string place_of(const Measure& measure) {
  if (measure.dataset.empty() && measure.protocol.empty()) return "no data set";
  return measure.dataset + (measure.dataset.empty() || measure.protocol.empty() ? "" : ", ") + measure.protocol;
}

std::string format_value(const std::optional<Value>& value) {
  if (!value) return "-";
  if (!value->standard_error) return format_number(value->value);
  // As many places as two digits of the error need.
  const double error = *value->standard_error;
  const double magnitude = error > 0.0 && std::isfinite(error) ? std::floor(std::log10(error)) : -3.0;
  const int places = static_cast<int>(std::clamp(1.0 - magnitude, 0.0, 9.0));
  return fmt::format("{:.{}f} ± {:.{}f}", value->value, places, error, places);
}

}  // namespace kronlab::storage
