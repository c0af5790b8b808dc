#include "analysis/spectra.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "analysis/curve_panels.hpp"
#include "analysis/layer_place.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/error.hpp"
#include "framework/storage/array_file.hpp"

namespace kronlab::analysis {
namespace {

constexpr std::size_t most_lines = 12;  // more are told apart by nobody
/// Of the largest singular value: what is below is rounding of float32 weights.
constexpr double smallest = 1e-7;

struct LayerSpectrum {
  std::string run, layer;
  std::vector<double> values;  ///< descending from 1; positive
};

/// "stages/1/layers/h.0.mlp.c_fc/spectrum": the layer's name.
std::string layer_of(const std::string& name) {
  const auto begin = name.find("layers/"), end = name.rfind('/');
  return begin == std::string::npos || begin + 7 > end ? name : name.substr(begin + 7, end - begin - 7);
}

void add_spectra(std::vector<LayerSpectrum>& all, const storage::RunReader& run, const std::string& label) {
  const auto path = run.folder() / "arrays.h5";
  if (!std::filesystem::exists(path)) return;
  const storage::ArrayReader arrays(path.string());
  for (const auto& name : arrays.names()) {
    if (!name.ends_with("/spectrum")) continue;
    auto values = arrays.read_f64(name);
    const double largest = values.empty() ? 0.0 : values.front();
    if (!(largest > 0)) continue;
    std::erase_if(values, [&](double value) { return !(value > smallest * largest); });  // zero has no place on the axis
    for (double& value : values) value /= largest;
    const std::string layer = layer_of(name);
    std::erase_if(all, [&](const LayerSpectrum& other) { return other.run == label && other.layer == layer; });  // of an earlier stage
    all.push_back({label, layer, std::move(values)});
  }
}

/// Places spread evenly on a logarithmic scale: a long spectrum needs no more.
Curve curve_of(const std::string& label, const std::vector<double>& values) {
  constexpr double growth = 1.03;
  Curve curve{label, {}};
  double next = 1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto place = static_cast<double>(i + 1);
    if (place < next && i + 1 < values.size()) continue;
    curve.points.emplace_back(place, values[i]);
    next = place * growth;
  }
  return curve;
}

/// As long as the shortest of them.
std::vector<double> geometric_mean(const std::vector<const LayerSpectrum*>& layers) {
  std::size_t length = layers.front()->values.size();
  for (const auto* layer : layers) length = std::min(length, layer->values.size());
  std::vector<double> mean(length, 0.0);
  for (std::size_t i = 0; i < length; ++i) {
    for (const auto* layer : layers) mean[i] += std::log(layer->values[i]);
    mean[i] = std::exp(mean[i] / static_cast<double>(layers.size()));
  }
  return mean;
}

/// A line for each group that `name_of` makes, in the sequence of recording.
template <class NameOf>
std::vector<Curve> means_of(const std::vector<LayerSpectrum>& all, NameOf name_of) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<const LayerSpectrum*>> groups;
  for (const auto& layer : all) {
    const std::string name = name_of(layer);
    if (!groups.contains(name)) names.push_back(name);
    groups[name].push_back(&layer);
  }
  std::vector<Curve> curves;
  for (const auto& name : names) {
    const auto& layers = groups[name];
    curves.push_back(curve_of(layers.size() == 1 ? name : fmt::format("{}, mean of {}", name, layers.size()), geometric_mean(layers)));
  }
  return curves;
}

}  // namespace

Drawing spectra(const std::vector<storage::RunReader>& runs, Medium medium) {
  std::vector<LayerSpectrum> all;
  std::map<std::string, int> seen;
  for (const auto& run : runs) {
    const std::string label = label_of(run.description());
    const int number = ++seen[label];
    add_spectra(all, run, number == 1 ? label : fmt::format("{} ({})", label, number));
  }
  if (all.empty()) throw ConfigError("none of the chosen runs has recorded spectra (stages/*/layers/*/spectrum in arrays.h5; svd and kronecker do when a run is done)");
  const auto with_run = [&](const LayerSpectrum& layer, const std::string& name) { return runs.size() > 1 ? layer.run + ": " + name : name; };
  CurvePanel panel{"singular value / the largest [1]", means_of(all, [&](const LayerSpectrum& layer) { return with_run(layer, layer.layer); })};
  if (panel.curves.size() > most_lines)
    panel.curves = means_of(all, [&](const LayerSpectrum& layer) { return with_run(layer, place_of_layer(layer.layer).kind); });
  if (panel.curves.size() > most_lines && runs.size() > 1) panel.curves = means_of(all, [](const LayerSpectrum& layer) { return layer.run; });
  return draw_panels({panel}, "place of the singular value [1]", Scale::log_both, medium);
}

}  // namespace kronlab::analysis
