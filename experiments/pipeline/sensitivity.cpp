#include "experiments/pipeline/sensitivity.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "experiments/pipeline/cache_file.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/stop_request.hpp"

namespace kronlab::experiments {
namespace {

using nlohmann::json;

/// What dotted names have in common, in whole parts.
std::string common_name(const std::vector<std::string>& names) {
  std::string common = names.front() + ".";
  for (const auto& name : names) {
    const std::string whole = name + ".";
    const auto same = std::ranges::mismatch(common, whole).in1 - common.begin();
    common.resize(static_cast<std::size_t>(same));
    common.resize(common.find_last_of('.') + 1);
  }
  if (!common.empty()) common.pop_back();
  return common;
}

/// A layer's operator as text: its factors, or its weight.
std::string content_of(const linalg::LinearOperator& layer) {
  const auto* factorization = dynamic_cast<const decompositions::Factorization*>(&layer);
  KRONLAB_EXPECTS(factorization, "a {} x {} layer of a compressed stage has no factors", layer.rows(), layer.cols());
  return decompositions::serialise(factorization->parts());
}

json to_json(const std::vector<WindowLoss>& windows) {
  json array = json::array();
  for (const auto& [weight, loss] : windows) array.push_back({weight, loss});
  return array;
}

std::vector<WindowLoss> windows_from(const json& array) {
  std::vector<WindowLoss> windows;
  for (const auto& window : array) windows.push_back({window.at(0), window.at(1)});
  return windows;
}

std::string to_text(const Deviation& d) {
  return json{{"kl", to_json(d.kl)}, {"loss_change", to_json(d.loss_change)}, {"top1_agreement", d.top1_agreement}, {"stream_error", d.stream_error}}.dump();
}

Deviation deviation_from(const std::string& text) {
  const json j = json::parse(text);
  return {windows_from(j.at("kl")), windows_from(j.at("loss_change")), j.at("top1_agreement"), j.at("stream_error")};
}

/// Measurements on disk, as text.
class SensitivityCache {
 public:
  explicit SensitivityCache(const SensitivityInput& input) : input_(input) {}

  /// Of a unit; empty: not there, or of no use.
  std::string find(const SensitivityUnit& unit) const {
    return read_cached(path_of(unit), [](const std::string& text) { deviation_from(text); });
  }
  void keep(const SensitivityUnit& unit, const std::string& text) const { write_cached(path_of(unit), text); }

 private:
  std::filesystem::path path_of(const SensitivityUnit& unit) const {
    const auto& text = input_.spec.text;
    std::string identity = fmt::format("sensitivity 1\n{}\n{} {} {}\n", input_.content, text.tokens, text.window, model::to_string(input_.precision));
    for (const auto& layer : unit.layers) identity += fmt::format("{} {}\n", layer, sha256(content_of(*input_.compressed.layer(layer))));
    return input_.folder / (sha256(identity) + ".json");
  }

  const SensitivityInput& input_;
};

/// The reference with one unit as the stage left it.
model::Transformer changed_by(const SensitivityInput& input, const SensitivityUnit& unit) {
  auto changed = input.reference.share();
  for (const auto& layer : unit.layers) changed.replace_layer(layer, input.compressed.layer(layer));
  return changed;
}

}  // namespace

std::vector<SensitivityUnit> sensitivity_units(const SensitivitySpec& spec, const std::vector<PlannedLayer>& layers, Index num_blocks) {
  std::vector<SensitivityUnit> units;
  for (const auto& layer : layers) {
    const Index block = layer.block >= 0 ? layer.block : layer.layer == "lm_head" ? num_blocks : SensitivityProbe::embedding;
    const bool is_together = spec.by == SensitivitySpec::By::block && layer.block >= 0;
    const auto found = std::ranges::find_if(units, [&](const SensitivityUnit& unit) { return is_together ? unit.block == block : unit.name == layer.layer; });
    if (found == units.end()) {
      units.push_back({layer.layer, block, {layer.layer}});
    } else if (std::ranges::find(found->layers, layer.layer) == found->layers.end()) {
      found->layers.push_back(layer.layer);
      found->name = common_name(found->layers);
    }
  }
  std::ranges::stable_sort(units, {}, &SensitivityUnit::block);
  return units;
}

std::vector<int> owners_of(const std::vector<SensitivityUnit>& units, const model::ModelConfig& config, int num_ranks) {
  const double head = static_cast<double>(config.vocab_size * config.width);
  const double block = std::max(1.0, (static_cast<double>(model::num_parameters(config)) - head) / static_cast<double>(std::max<Index>(config.num_blocks, 1)));
  std::vector<double> costs;
  for (const auto& unit : units) costs.push_back(static_cast<double>(config.num_blocks - std::max<Index>(unit.block, 0)) * block + head);
  const comm::WorkPartition partition(costs, num_ranks);
  std::vector<int> owners;
  for (std::size_t i = 0; i < units.size(); ++i) owners.push_back(partition.owner(static_cast<Index>(i)));
  return owners;
}

std::vector<Sensitivity> measure_sensitivities(const comm::Communicator& communicator, const SensitivityInput& input) {
  const SensitivityCache cache(input);
  std::vector<std::string> found(input.units.size());
  comm::coordinate(communicator, [&] {
    if (!communicator.is_root()) return;
    for (std::size_t i = 0; i < found.size(); ++i) found[i] = cache.find(input.units[i]);
  });
  std::vector<std::size_t> missing;
  std::vector<SensitivityUnit> to_measure;
  for (std::size_t i = 0; i < found.size(); ++i) {
    found[i] = communicator.broadcast(std::move(found[i]));
    if (found[i].empty()) missing.push_back(i), to_measure.push_back(input.units[i]);
  }
  const auto owners = owners_of(to_measure, input.reference.config(), communicator.size());
  const auto own = std::ranges::count(owners, communicator.rank());
  log_info(fmt::format("{}: sensitivity of {} unit(s), {} known from before", input.what, found.size(), found.size() - missing.size()));
  bool is_stopped = false;
  comm::coordinate(communicator, [&] {
    if (own == 0) return;
    SensitivityProbe probe(input.reference, input.ids, input.spec.text.window, input.precision);
    Progress progress(fmt::format("{}: each alone on {} tokens, rank 0 of {}", input.what, input.spec.text.tokens, communicator.size()), own);
    Index num_done = 0;
    for (std::size_t i = 0; i < missing.size() && !is_stopped; ++i) {
      if (owners[i] != communicator.rank()) continue;
      const auto& unit = to_measure[i];
      found[missing[i]] = to_text(probe.measure(changed_by(input, unit), unit.block));
      cache.keep(unit, found[missing[i]]);
      progress.update(++num_done, unit.name);
      is_stopped = num_done < own && StopRequest::is_stop_wanted();
    }
  });
  if (communicator.max(Index{is_stopped ? 1 : 0}) == 1) throw Interrupted(fmt::format("{}: stopped while sensitivities were measured; those that are known are kept", input.what));
  std::vector<Sensitivity> all;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto place = std::ranges::find(missing, i) - missing.begin();
    if (static_cast<std::size_t>(place) < missing.size()) found[i] = communicator.broadcast(std::move(found[i]), owners[static_cast<std::size_t>(place)]);
    all.push_back({input.units[i], deviation_from(found[i])});
  }
  return all;
}

std::string in_words(const std::vector<Sensitivity>& sensitivities) {
  std::vector<std::pair<double, std::string>> kl;
  double all = 0.0;
  for (const auto& [unit, deviation] : sensitivities) all += kl.emplace_back(mean_loss(deviation.kl).mean, unit.name).first;
  std::ranges::sort(kl);
  return fmt::format("each alone, KL in nat/token: {:.4g} in all, median {:.3g}, most {:.3g} for {}", all, kl[kl.size() / 2].first, kl.back().first, kl.back().second);
}

void add(Measured& measured, const std::vector<Sensitivity>& sensitivities, const SensitivitySpec& spec, Index stage) {
  for (const auto& [unit, deviation] : sensitivities) {
    const auto record = [&](const char* name, const MeanLoss& mean, const char* unit_of_value, bool has_error = true) {
      Metric metric;
      metric.name = name, metric.value = mean.mean, metric.unit = unit_of_value, metric.stage = stage, metric.layer = unit.name;
      metric.dataset = std::filesystem::path(spec.text.paths.front()).stem().string();
      metric.protocol = fmt::format("{} changed alone, first {} tokens window={}", spec.by == SensitivitySpec::By::block ? "block" : "layer", spec.text.tokens, spec.text.window);
      if (has_error) metric.standard_error = mean.standard_error;
      measured.metrics.push_back(std::move(metric));
    };
    record("sensitivity/kl", mean_loss(deviation.kl), "nat/token");
    record("sensitivity/loss_change", mean_loss(deviation.loss_change), "nat/token");
    record("sensitivity/top1_agreement", {deviation.top1_agreement, 0}, "1", false);
    record("sensitivity/stream_error", {deviation.stream_error, 0}, "1", false);
  }
}

}  // namespace kronlab::experiments
