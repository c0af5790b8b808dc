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

std::vector<Curve> curves_of(const std::vector<storage::RunReader>& runs, const std::string& name) {
  std::vector<Curve> curves;
  for (const auto& run : runs) {
    const auto first = first_steps(run);
    const auto description = run.description();
    Curve curve{label_of(description), {}};
    for (const auto& metric : run.metrics(name)) {
      if (!std::isfinite(metric.value)) continue;
      const auto offset = first.find(metric.stage);
      curve.points.emplace_back(static_cast<double>(metric.step + (offset == first.end() ? 0 : offset->second)), metric.value);
    }
    if (!curve.points.empty()) curves.push_back(std::move(curve));
  }
  return curves;
}

}  // namespace

std::string curves_script(const std::vector<storage::RunReader>& runs, const std::vector<std::string>& metrics) {
  std::vector<CurvePanel> panels;
  for (const auto& name : metrics) {
    if (auto curves = curves_of(runs, name); !curves.empty()) panels.push_back({name, std::move(curves)});
  }
  if (panels.empty()) throw ConfigError(fmt::format("none of the chosen runs has {} to draw over its steps", fmt::join(metrics, " or ")));
  return panels_script(panels, "optimizer step");
}

}  // namespace kronlab::analysis
