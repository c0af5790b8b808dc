#include <map>

#include "experiments/commands.hpp"
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
