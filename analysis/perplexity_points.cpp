#include "analysis/perplexity_points.hpp"

#include <algorithm>
#include <cmath>

#include "analysis/palette.hpp"
#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

/// One row of a panel.
struct Point {
  std::string label;
  double value = 0.0;
  double error = 0.0;
};

/// What is drawn of one measure.
struct Panel {
  storage::Measure measure;
  std::vector<Point> points;
  std::vector<Point> baselines;
};

std::vector<Panel> panels_of(const storage::Results& results) {
  std::vector<Panel> panels;
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    Panel panel{results.measures[m], {}, {}};
    for (const auto& row : results.rows) {
      const auto& measured = row.measured[m];
      if (!measured || !std::isfinite(measured->value)) continue;
      const Point point{row.label, measured->value, measured->standard_error.value_or(0.0)};
      (row.is_dense ? panel.baselines : panel.points).push_back(point);
    }
    if (!panel.points.empty()) panels.push_back(std::move(panel));
  }
  if (panels.empty()) throw ConfigError("none of the chosen runs has a finite eval/perplexity to draw");
  return panels;
}

void add_panel(std::string& script, const Panel& panel, std::size_t index, Medium medium) {
  const auto num_rows = panel.points.size();
  double low = panel.points.front().value, high = low;
  script += fmt::format("$panel{} << EOD\n", index);
  for (std::size_t i = 0; i < num_rows; ++i) {
    const Point& point = panel.points[i];
    low = std::min(low, point.value - point.error);
    high = std::max(high, point.value + point.error);
    script += fmt::format("{} {} {} {}\n", num_rows - i, point.value, point.error, plain_quoted(cut_to(point.label, medium == Medium::picture ? 48 : 24)));
  }
  script += "EOD\n";
  for (const auto& baseline : panel.baselines) {
    low = std::min(low, baseline.value);
    high = std::max(high, baseline.value);
  }
  const bool is_wide = low > 0.0 && high / low > 20.0;
  const double margin = std::max(high - low, 0.02 * std::abs(high)) * 0.08;
  script += is_wide ? "set logscale x\n" : "unset logscale x\n";
  script += is_wide ? fmt::format("set xrange [{}:{}]\n", low / 1.3, high * 1.3)
                    : fmt::format("set xrange [{}:{}]\n", low - margin, high + margin);
  script += fmt::format("set title {} . \"\\n\" . {} noenhanced font ',10'\nset yrange [0.4:{}.6]\n",
                        plain_quoted(panel.measure.dataset), plain_quoted(panel.measure.protocol), num_rows);
  script += fmt::format(
      "plot $panel{} using 2:1:3:ytic(4) with xerrorbars pt 7 ps 1.3 lw 2 lc rgb '{}' title 'compressed, ± "
      "standard error', $panel{} using 2:1:(sprintf('%.4g', $2)) with labels offset 0,0.9 font ',10' notitle",
      index, line_style(0).colour, index);
  for (std::size_t b = 0; b < panel.baselines.size(); ++b) {
    const auto& baseline = panel.baselines[b];
    const auto style = line_style(b + 1);
    script += fmt::format(
        ", '+' using ({}):($0 / 99.0 * {}.2 + 0.4) every ::0::99 with lines lw 2 dt {} lc rgb '{}' title {} noenhanced",
        baseline.value, num_rows, style.dash, style.colour, quoted(fmt::format("{}: {:.4g}", cut_to(baseline.label, 60), baseline.value)));
  }
  script += "\n";
}

}  // namespace

Drawing perplexity_points(const storage::Results& results, Medium medium) {
  const auto panels = panels_of(results);
  const bool is_picture = medium == Medium::picture;
  double num_rows = 0;
  for (const auto& panel : panels) num_rows += static_cast<double>(panel.points.size() + 7 + panel.baselines.size());
  Drawing drawing;
  drawing.width = is_picture ? 1100 : terminal_columns() - 1;
  drawing.height = is_picture ? std::clamp(28 * num_rows, 260.0, 16'000.0) : std::max(2 * num_rows, 20.0);
  std::string& script = drawing.script;
  script = "set samples 100\n" + grid(medium) + "set ytics noenhanced\n";
  script += "set xlabel 'perplexity [1], lower is better'\nset key tmargin center vertical maxcols 1 samplen 3\n";
  if (panels.size() > 1) script += fmt::format("set multiplot layout {},1\n", panels.size());
  for (std::size_t i = 0; i < panels.size(); ++i) add_panel(script, panels[i], i, medium);
  if (panels.size() > 1) script += "unset multiplot\n";
  return drawing;
}

}  // namespace kronlab::analysis
