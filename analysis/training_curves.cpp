#include "analysis/training_curves.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/curve_panels.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

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

CurvePanel panel_of(const std::vector<storage::RunReader>& runs, const std::string& name) {
  CurvePanel panel{name, {}};
  for (const auto& run : runs) {
    const auto first = first_steps(run);
    const auto description = run.description();
    Curve curve{label_of(description), {}};
    for (const auto& metric : run.metrics(name)) {
      if (!std::isfinite(metric.value)) continue;
      const auto offset = first.find(metric.stage);
      panel.title = fmt::format("{} [{}]", name, metric.unit);
      curve.points.emplace_back(static_cast<double>(metric.step + (offset == first.end() ? 0 : offset->second)), metric.value);
    }
    if (!curve.points.empty()) panel.curves.push_back(std::move(curve));
  }
  return panel;
}

}  // namespace

Drawing training_curves(const std::vector<storage::RunReader>& runs, const std::vector<std::string>& metrics, Medium medium) {
  std::vector<CurvePanel> panels;
  for (const auto& name : metrics) {
    if (auto panel = panel_of(runs, name); !panel.curves.empty()) panels.push_back(std::move(panel));
  }
  if (panels.empty()) throw ConfigError(fmt::format("none of the chosen runs has {} to draw over its steps", fmt::join(metrics, " or ")));
  return draw_panels(panels, "optimizer step [1]", Scale::linear, medium);
}

}  // namespace kronlab::analysis
