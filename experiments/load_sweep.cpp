#include <map>

#include "experiments/commands.hpp"
#include "experiments/pipeline/model_access.hpp"
#include "experiments/pipeline/run_identity.hpp"
#include "framework/config/read_toml_file.hpp"

namespace kronlab::experiments {
namespace {

/// The texts of a file and of what it includes, by path.
using Texts = std::map<std::string, std::string>;

Texts texts_of(const std::string& file) {
  Texts texts;
  config::read_toml_file(file, [&](const std::string& path) { return texts[path] = read_text_file(path); });
  return texts;
}

Texts broadcast(const comm::Communicator& world, const Texts& of_root) {
  auto count = static_cast<Index>(of_root.size());
  world.broadcast(std::span(&count, 1));
  Texts texts;
  auto at = of_root.begin();
  for (Index i = 0; i < count; ++i) {
    auto [path, text] = world.is_root() ? std::pair<std::string, std::string>(*at++) : std::pair<std::string, std::string>();
    path = world.broadcast(std::move(path));
    texts[path] = world.broadcast(std::move(text));
  }
  return texts;
}

}  // namespace

std::vector<config::RunSpec> runs_of_cells(const comm::Communicator& world, std::vector<config::RunSpec> runs, const std::vector<std::string>& cells,
                                           const std::string& folder) {
  std::vector<Index> is_chosen(runs.size(), 0);
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    CellHasher hasher;
    std::map<std::string, std::size_t> places;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const auto spec = ExperimentSpec::read(runs[i].config, folder);
      places.emplace(hasher.cell_of(spec, ModelAccess(spec.model.path).files()), i);
    }
    for (const auto& cell : cells) {
      const auto place = places.find(cell);
      if (place == places.end()) {
        throw ConfigError(fmt::format("no run has the cell '{}': the file, its model or its texts have changed since; see `kronlab check`", cell));
      }
      is_chosen[place->second] = 1;
    }
  });
  world.broadcast(std::span(is_chosen));
  std::vector<config::RunSpec> chosen;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (is_chosen[i] == 1) chosen.push_back(std::move(runs[i]));
  }
  return chosen;
}

std::vector<config::RunSpec> load_sweep(const comm::Communicator& world, const SweepArguments& arguments) {
  const Texts of_root = comm::coordinate(world, [&] { return world.is_root() ? texts_of(arguments.file) : Texts(); });
  const Texts texts = broadcast(world, of_root);
  return comm::coordinate(world, [&] {
    std::vector<config::Override> overrides;
    for (const auto& override_text : arguments.overrides) overrides.push_back(config::parse_override(override_text));
    return config::expand_sweep(config::read_toml_file(arguments.file, [&](const std::string& path) { return texts.at(path); }), overrides);
  });
}

}  // namespace kronlab::experiments
