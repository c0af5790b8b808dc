#include "analysis/heat_map.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "analysis/layer_place.hpp"
#include "analysis/palette.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/error.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::analysis {
namespace {

using storage::LayerRecord;

/// What is known of layers, by name.
struct LayerValues {
  std::string unit = "1";
  std::vector<std::pair<std::string, double>> values;  ///< in the sequence of recording; each layer once
  void set(const std::string& layer, double value) {
    if (!std::isfinite(value)) return;
    const auto found = std::ranges::find(values, layer, &std::pair<std::string, double>::first);
    if (found == values.end()) {
      values.emplace_back(layer, value);
    } else {
      found->second = value;
    }
  }
};

std::optional<double> of_record(const LayerRecord& layer, const std::string& name) {
  if (name == "relative_error") return layer.relative_error;
  if (name == "weighted_error") return layer.weighted_error;
  if (name == "search_value") return layer.search_value;
  if (name == "seconds") return layer.seconds;
  return std::nullopt;
}

LayerValues values_of(const storage::RunReader& run, const std::string& name) {
  LayerValues result;
  if (name == "seconds") result.unit = "s";
  for (const auto& layer : run.layers()) {
    if (const auto value = of_record(layer, name)) result.set(layer.layer, *value);
  }
  for (const auto& metric : run.metrics(name)) {
    if (metric.name != name || metric.layer.empty()) continue;
    result.unit = metric.unit;
    result.set(metric.layer, metric.value);
  }
  return result;
}

std::string known_metrics(const std::vector<storage::RunReader>& runs) {
  std::set<std::string> names = {"relative_error", "weighted_error", "search_value", "seconds"};
  for (const auto& run : runs) {
    run.visit_metrics(0, [&](const Metric& metric) {
      if (!metric.layer.empty()) names.insert(metric.name);
    });
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

struct Cell {
  Index block = -1;
  std::size_t row = 0;
  double value = 0.0;
};

struct Panel {
  std::string title;
  std::vector<std::string> kinds;  ///< rows, the first one at the top
  std::vector<Cell> cells;
};

Panel panel_of(const std::string& title, const LayerValues& layers) {
  Panel panel{title, {}, {}};
  for (const auto& [name, value] : layers.values) {
    const auto place = place_of_layer(name);
    const auto found = std::ranges::find(panel.kinds, place.kind);
    panel.cells.push_back({place.block, static_cast<std::size_t>(found - panel.kinds.begin()), value});
    if (found == panel.kinds.end()) panel.kinds.push_back(place.kind);
  }
  return panel;
}

struct Range {
  double low = 0.0, high = 1.0;
  bool is_logarithmic() const { return low > 0 && high / low > 30; }
  double place(double value) const {  ///< 0 to 1
    return is_logarithmic() ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  }
};

Range range_of(const std::vector<Panel>& panels) {
  Range range{1e300, -1e300};
  for (const auto& panel : panels) {
    for (const auto& cell : panel.cells) range.low = std::min(range.low, cell.value), range.high = std::max(range.high, cell.value);
  }
  if (range.high > range.low) return range;
  const double more = std::max(0.01 * std::abs(range.high), 1e-12);
  return {range.low - more, range.high + more};
}

/// What a cell says: its value, or in a terminal one digit from 0 (smallest) to 9.
std::string text_of(const Cell& cell, const Range& range, Medium medium) {
  if (medium == Medium::picture) return format_number(cell.value, 2);
  return std::to_string(std::clamp(static_cast<int>(10 * range.place(cell.value)), 0, 9));
}

void add_panel(std::string& script, const Panel& panel, const std::string& measure, std::size_t index, const Range& range, Medium medium) {
  Index first = 1 << 30, last = -1;
  std::set<Index> blocks;
  for (const auto& cell : panel.cells) blocks.insert(cell.block);
  first = *blocks.begin(), last = *blocks.rbegin();
  const auto num_rows = panel.kinds.size();
  script += fmt::format("$cells{} << EOD\n", index);
  for (const auto& cell : panel.cells)
    script += fmt::format("{} {} {} {} {}\n", cell.block, num_rows - cell.row, cell.value, plain_quoted(text_of(cell, range, medium)), range.place(cell.value) > 0.55 ? 1 : 0);
  script += "EOD\nset ytics (";
  for (std::size_t row = 0; row < num_rows; ++row) script += fmt::format("{}{} {}", row == 0 ? "" : ", ", plain_quoted(cut_to(panel.kinds[row], 28)), num_rows - row);
  script += ") noenhanced\nset xtics (";
  const Index step = std::max<Index>((last - first) / 24 + 1, 1);
  bool is_first = true;
  for (Index block = first; block <= last; ++block) {
    if (block >= 0 && block % step != 0) continue;
    script += fmt::format("{}\"{}\" {}", is_first ? "" : ", ", block < 0 ? "none" : std::to_string(block), block);
    is_first = false;
  }
  script += fmt::format(")\nset xrange [{}:{}]\nset yrange [0.5:{}.5]\nset title {} noenhanced\n", static_cast<double>(first) - 0.5, static_cast<double>(last) + 0.5, num_rows,
                        quoted(medium == Medium::terminal ? panel.title : panel.title + ": " + measure));
  const std::string name = fmt::format("$cells{}", index);
  if (medium == Medium::terminal) {
    script += fmt::format("plot {} using 1:2:4 with labels notitle\n", name);
    return;
  }
  script += fmt::format("plot {} using 1:2:(0.48):(0.48):3 with boxxyerror fs solid noborder lc palette notitle", name);
  if (last - first < 20) {
    for (const auto& [is_dark, colour] : {std::pair(0, "black"), std::pair(1, "white")})
      script += fmt::format(", {0} using ($5 == {1} ? $1 : NaN):2:4 with labels font ',10' tc rgb '{2}' notitle", name, is_dark, colour);
  }
  script += "\n";
}

}  // namespace

Drawing heat_map(const std::vector<storage::RunReader>& runs, const std::string& metric, Medium medium) {
  std::vector<Panel> panels;
  std::string unit = "1";
  for (const auto& run : runs) {
    const auto layers = values_of(run, metric);
    if (layers.values.empty()) continue;
    unit = layers.unit;
    panels.push_back(panel_of(label_of(run.description()), layers));
  }
  if (panels.empty()) throw ConfigError(fmt::format("none of the chosen runs has '{}' of a layer; known: {}", metric, known_metrics(runs)));
  const Range range = range_of(panels);
  const bool is_picture = medium == Medium::picture;
  std::size_t rows = 0;
  for (const auto& panel : panels) rows = std::max(rows, panel.kinds.size());
  Drawing drawing;
  drawing.width = is_picture ? 1100 : terminal_columns() - 1;
  drawing.height = static_cast<double>(panels.size()) * (is_picture ? 110 + 30 * static_cast<double>(rows) : 7 + 2 * static_cast<double>(rows));
  std::string& script = drawing.script;
  script = "set xlabel 'block'\nset palette defined (";
  for (std::size_t i = 0; i < heat_colours.size(); ++i) script += fmt::format("{}{} '{}'", i == 0 ? "" : ", ", i, heat_colours[i]);
  const std::string measure = fmt::format("{} [{}]", metric, unit);
  script += fmt::format(")\nset cbrange [{}:{}]\n{} logscale cb\n", range.low, range.high, range.is_logarithmic() ? "set" : "unset");
  if (!is_picture)
    script += fmt::format("set label {} at screen 0,0 offset 1,0.5 noenhanced\n", quoted(fmt::format("{}: 0 is {:.3g}, 9 is {:.3g}{}", measure, range.low, range.high, range.is_logarithmic() ? ", in equal ratios" : "")));
  if (panels.size() > 1) script += fmt::format("set multiplot layout {},1\n", panels.size());
  for (std::size_t i = 0; i < panels.size(); ++i) add_panel(script, panels[i], measure, i, range, medium);
  if (panels.size() > 1) script += "unset multiplot\n";
  return drawing;
}

}  // namespace kronlab::analysis
