#include "analysis/training_curves.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/gnuplot.hpp"
#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

/// A metric of one run over its steps.
struct Curve {
  std::string label;
  std::vector<std::pair<Index, double>> points;
};

/// The steps of a stage follow those of the stages before it, whose number the learning rates tell.
std::map<Index, Index> first_steps(const storage::RunReader& run) {
  std::map<Index, Index> lengths, first;
  for (const auto& metric : run.metrics("distill/learning_rate")) lengths[metric.stage] = std::max(lengths[metric.stage], metric.step);
  Index total = 0;
  for (const auto& [stage, length] : lengths) {
    first[stage] = total;
    total += length;
  }
  return first;
}

std::vector<Curve> curves_of(const std::vector<storage::RunReader>& runs, const std::string& name) {
  std::vector<Curve> curves;
  for (const auto& run : runs) {
    const auto first = first_steps(run);
    const auto description = run.description();
    Curve curve{description.label.empty() ? description.name : description.label, {}};
    for (const auto& metric : run.metrics(name)) {
      if (!std::isfinite(metric.value)) continue;
      const auto offset = first.find(metric.stage);
      curve.points.emplace_back(metric.step + (offset == first.end() ? 0 : offset->second), metric.value);
    }
    if (!curve.points.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

void add_panel(std::string& script, const std::string& name, const std::vector<Curve>& curves, std::size_t panel) {
  const char* const colours[] = {"#2166ac", "#b2182b", "#1b7837", "#762a83", "#e08214", "#4d4d4d"};
  std::string plots;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    script += fmt::format("$curve{}_{} << EOD\n", panel, i);
    for (const auto& [step, value] : curves[i].points) script += fmt::format("{} {}\n", step, value);
    script += "EOD\n";
    const bool has_few = curves[i].points.size() < 30;
    plots += fmt::format("{}$curve{}_{} using 1:2 with {} lw 2{} lc rgb '{}' title {} noenhanced", i == 0 ? "" : ", ", panel, i,
                         has_few ? "linespoints" : "lines", has_few ? " pt 7 ps 0.6" : "", colours[i % std::size(colours)], quoted(curves[i].label));
  }
  script += fmt::format("set ylabel {} noenhanced\nplot {}\n", quoted(name), plots);
}

}  // namespace

std::string curves_script(const std::vector<storage::RunReader>& runs, const std::vector<std::string>& metrics) {
  std::vector<std::pair<std::string, std::vector<Curve>>> panels;
  for (const auto& name : metrics) {
    if (auto curves = curves_of(runs, name); !curves.empty()) panels.emplace_back(name, std::move(curves));
  }
  if (panels.empty()) throw ConfigError(fmt::format("none of the chosen runs has {} to draw over its steps", fmt::join(metrics, " or ")));
  std::string script = picture_of_size(1100, 420 * panels.size()) + "set grid\nset xlabel 'optimizer step'\nset key outside right top vertical\n";
  if (panels.size() > 1) script += fmt::format("set multiplot layout {},1\n", panels.size());
  for (std::size_t i = 0; i < panels.size(); ++i) add_panel(script, panels[i].first, panels[i].second, i);
  if (panels.size() > 1) script += "unset multiplot\n";
  return script;
}

}  // namespace kronlab::analysis
