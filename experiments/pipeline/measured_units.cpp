#include "experiments/pipeline/measured_units.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include "experiments/pipeline/compression_plan.hpp"
#include "experiments/pipeline/known_cells.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/sensitivity.hpp"

namespace kronlab::experiments {
namespace {

using config::Value;

/// Of the sums of several runs.
struct Count {
  Index own = 0;
  double dense_seconds = 0.0;
};

/// `decompose` and `permute` of a stage's part.
Value method_of(const Value& resolved, std::size_t part) {
  const Value* table = config::value_at(resolved, fmt::format("stage.0.part.{}", part));
  if (!table) table = config::value_at(resolved, "stage.0");
  Value method;
  for (const char* key : {"decompose", "permute"}) {
    if (const Value* value = config::value_at(*table, key)) config::assign(method, key, *value);
  }
  return method;
}

/// What all runs of a profile share.
std::string common_text(const Value& resolved) {
  std::string text;
  for (const char* path : {"experiment.precision", "model", "student", "data", "stage.0.sensitivity"}) {
    const Value* value = config::value_at(resolved, path);
    text += fmt::format("{} = {}\n", path, value ? config::to_text(*value) : "");
  }
  return text;
}

/// The numbers of a run's first stage by layer: those of a name whose protocol begins so.
std::map<std::string, double> by_layer(const storage::RunReader& run, const std::string& name,
                                       const std::string& protocol) {
  std::map<std::string, double> values;
  for (const auto& metric : run.metrics(name)) {
    if (metric.name == name && metric.stage == 0 && metric.protocol.starts_with(protocol))
      values[metric.layer] = metric.value;
  }
  return values;
}

/// What one run measured.
class ProfileRun {
 public:
  ProfileRun(const ExperimentSpec& spec, const CompressionPlan& plan, std::string label,
             const std::filesystem::path& folder)
      : label_(std::move(label)), spec_(spec), plan_(plan) {
    const storage::RunReader reader(folder);
    kl_ = by_layer(reader, "sensitivity/kl", "");
    seconds_ = by_layer(reader, "speed/seconds", "generate ");
    dense_seconds_ = by_layer(reader, "speed/dense_seconds", "generate ");
    for (const auto& layer : reader.layers()) {
      if (layer.stage == 0) bytes_[layer.layer] += static_cast<double>(layer.bytes_after);
    }
  }

  std::vector<MeasuredUnit> units() const {
    std::vector<MeasuredUnit> result;
    for (const auto& unit :
         sensitivity_units(*spec_.stages[0].sensitivity, plan_.stages[0].layers, plan_.config.num_blocks)) {
      result.push_back(measured(unit));
    }
    return result;
  }

 private:
  MeasuredUnit measured(const SensitivityUnit& unit) const {
    const auto kl = kl_.find(unit.name);
    if (kl == kl_.end())
      throw DataError(fmt::format("budget: run '{}' has no sensitivity/kl of '{}'", label_, unit.name));
    MeasuredUnit result{unit.name, unit.block, unit.layers, 0.0, 0.0, {}};
    MeasuredChoice choice{label_, Value(), kl->second, 0.0, 0.0};
    bool is_first = true, has_times = true;
    for (const auto& layer : plan_.stages[0].layers) {
      if (std::ranges::find(unit.layers, layer.layer) == unit.layers.end()) continue;
      const Value method = method_of(spec_.resolved, layer.part);
      if (!is_first && config::to_text(method) != config::to_text(choice.part)) {
        throw ConfigError(
            fmt::format("budget: '{}' of run '{}' has layers of different methods; a unit has one, so give stages of "
                        "one part, or sensitivity by = \"layer\"",
                        unit.name, label_));
      }
      choice.part = method, is_first = false;
      result.dense_bytes += 4.0 * static_cast<double>(layer.rows * layer.cols);
      const auto bytes = bytes_.find(layer.layer);
      if (bytes == bytes_.end())
        throw DataError(fmt::format("budget: run '{}' has no size of '{}'", label_, layer.layer));
      choice.bytes += bytes->second;
      const auto own = seconds_.find(layer.layer), dense = dense_seconds_.find(layer.layer);
      has_times = has_times && own != seconds_.end() && dense != dense_seconds_.end();
      if (has_times) choice.seconds += own->second, result.dense_seconds += dense->second;
    }
    if (!has_times) choice.seconds = result.dense_seconds = 0.0;
    result.choices.push_back(std::move(choice));
    return result;
  }

  std::string label_;
  const ExperimentSpec& spec_;
  const CompressionPlan& plan_;
  std::map<std::string, double> kl_, seconds_, dense_seconds_, bytes_;
};

/// The choices of several runs by unit, in the sequence of the first ones.
class UnitSums {
 public:
  void add(MeasuredUnit unit) {
    auto place = std::ranges::find(units_, unit.layers, &MeasuredUnit::layers);
    if (place == units_.end()) {
      units_.push_back(std::move(unit)), counts_.emplace_back(1, Count{1, units_.back().dense_seconds});
      return;
    }
    const auto u = static_cast<std::size_t>(place - units_.begin());
    auto& choice = unit.choices.front();
    const auto same = std::ranges::find_if(place->choices, [&](const MeasuredChoice& other) {
      return config::to_text(other.part) == config::to_text(choice.part);
    });
    if (same == place->choices.end()) {
      counts_[u].push_back({1, unit.dense_seconds});
      place->choices.push_back(std::move(choice));
      return;
    }
    auto& count = counts_[u][static_cast<std::size_t>(same - place->choices.begin())];
    ++count.own, count.dense_seconds += unit.dense_seconds;
    same->kl += choice.kl, same->bytes += choice.bytes, same->seconds += choice.seconds;
  }

  /// Means. Seconds of a choice are beside the dense ones of the same runs, as machines differ from day to day.
  std::vector<MeasuredUnit> means() && {
    for (std::size_t u = 0; u < units_.size(); ++u) {
      auto& unit = units_[u];
      for (std::size_t c = 0; c < unit.choices.size(); ++c) {
        auto& choice = unit.choices[c];
        const auto n = static_cast<double>(counts_[u][c].own);
        choice.kl /= n, choice.bytes /= n;
        choice.seconds =
            counts_[u][c].dense_seconds > 0 ? choice.seconds / counts_[u][c].dense_seconds * unit.dense_seconds : 0.0;
      }
    }
    return std::move(units_);
  }

 private:
  std::vector<MeasuredUnit> units_;
  std::vector<std::vector<Count>> counts_;  ///< by choice
};

/// The runs' specifications. @throws ConfigError if they are no profile
std::vector<ExperimentSpec> specs_of(const std::vector<config::RunSpec>& runs, const std::string& folder) {
  std::vector<ExperimentSpec> specs;
  for (const auto& run : runs) {
    specs.push_back(ExperimentSpec::read(run.config, folder));
    const auto& stages = specs.back().stages;
    if (stages.empty() || !stages[0].sensitivity) {
      throw ConfigError(
          fmt::format("budget: the first stage of run '{}' does not measure its layers alone: give [stage.sensitivity]",
                      run.label));
    }
    const std::string own = common_text(specs.back().resolved), first = common_text(specs.front().resolved);
    if (own != first)
      throw ConfigError(fmt::format("budget: run '{}' differs from '{}' in more than its methods:\n{}instead of\n{}",
                                    run.label, runs[0].label, own, first));
  }
  return specs;
}

}  // namespace

std::vector<MeasuredUnit> measured_units(const std::vector<config::RunSpec>& runs, const std::string& folder,
                                         const std::string& store) {
  const auto specs = specs_of(runs, folder);
  KnownCells cells(store);
  UnitSums sums;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const ModelAccess model(specs[i].model.path);
    const auto known = cells.find(specs[i], model.files());
    if (known.state != "done") {
      throw ConfigError(fmt::format("budget: run '{}' is {}{}, not done: `kronlab profile` measures it", runs[i].label,
                                    known.state, known.missing.empty() ? "" : " (" + known.missing + ")"));
    }
    const auto plan = CompressionPlan::make(specs[i], model.config());
    const ProfileRun run(specs[i], plan, runs[i].label, std::filesystem::path(store) / "runs" / known.run_id);
    for (auto& unit : run.units()) sums.add(std::move(unit));
  }
  return std::move(sums).means();
}

}  // namespace kronlab::experiments
