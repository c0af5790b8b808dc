#include "analysis/search_curves.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "analysis/curve_panels.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/error.hpp"
#include "framework/storage/array_file.hpp"

namespace kronlab::analysis {
namespace {

/// What the search of one layer had reached after so many candidate moves: both ascending.
struct LayerCurve {
  std::vector<double> evaluations, kept;  ///< shares of the energy

  double error_after(double evaluated) const {
    const auto next = std::ranges::upper_bound(evaluations, evaluated) - evaluations.begin();
    return std::sqrt(std::max(1 - kept[static_cast<std::size_t>(std::max<std::ptrdiff_t>(next - 1, 0))], 0.0));
  }
};

std::vector<LayerCurve> layers_of(const storage::RunReader& run) {
  const auto path = run.folder() / "arrays.h5";
  std::vector<LayerCurve> layers;
  if (!std::filesystem::exists(path)) return layers;
  const storage::ArrayReader arrays(path.string());
  const std::string wanted = "search/evaluations";
  for (const auto& name : arrays.names()) {
    if (!name.ends_with(wanted)) continue;
    LayerCurve layer{arrays.read_f64(name), arrays.read_f64(name.substr(0, name.size() - wanted.size()) + "search/value")};
    if (!layer.evaluations.empty() && layer.kept.size() == layer.evaluations.size()) layers.push_back(std::move(layer));
  }
  return layers;
}

/// At moves spread evenly on a logarithmic scale, from the first improvement of a layer to the last of all.
Curve mean_curve(const std::string& label, const std::vector<LayerCurve>& layers) {
  constexpr int num_points = 200;
  double first = 1e30, last = 1;
  for (const auto& layer : layers) {
    last = std::max(last, layer.evaluations.back());
    const auto moved = std::ranges::upper_bound(layer.evaluations, 0.0);
    if (moved != layer.evaluations.end()) first = std::min(first, *moved);
  }
  first = std::min(first, last);
  Curve curve{label, {}};
  for (int k = 0; k <= num_points; ++k) {
    const double at = first * std::pow(last / first, static_cast<double>(k) / num_points);
    double sum = 0;
    for (const auto& layer : layers) sum += layer.error_after(at);
    const double mean = sum / static_cast<double>(layers.size());
    const bool has_changed = curve.points.empty() || mean != curve.points.back().second;
    if (has_changed || k == num_points) curve.points.emplace_back(at, mean);
  }
  return curve;
}

}  // namespace

Drawing search_curves(const std::vector<storage::RunReader>& runs, Medium medium) {
  CurvePanel panel{"relative error [1], mean over layers", {}};
  for (const auto& run : runs) {
    if (const auto layers = layers_of(run); !layers.empty()) panel.curves.push_back(mean_curve(label_of(run.description()), layers));
  }
  if (panel.curves.empty()) throw ConfigError("none of the chosen runs has searched for permutations");
  return draw_panels({panel}, "candidate moves of a layer [1]", Scale::log_x, medium);
}

}  // namespace kronlab::analysis
