#include "experiments/commands.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::experiments {

std::vector<config::RunSpec> load_sweep(const comm::Communicator& world, const SweepArguments& arguments) {
  std::string text = comm::coordinate(world, [&] {
    if (!world.is_root()) return std::string();
    try {
      return read_text_file(arguments.file);
    } catch (const StorageError& error) {
      throw ConfigError(error.what());
    }
  });
  text = world.broadcast(std::move(text));
  return comm::coordinate(world, [&] {
    std::vector<config::Override> overrides;
    for (const auto& override_text : arguments.overrides) overrides.push_back(config::parse_override(override_text));
    return config::expand_sweep(config::parse_toml(text, arguments.file), overrides);
  });
}

}  // namespace kronlab::experiments
