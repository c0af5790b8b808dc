#include "experiments/commands.hpp"
#include "experiments/pipeline/experiment_spec.hpp"
#include "experiments/pipeline/export_model.hpp"
#include "framework/base/progress.hpp"
#include "framework/storage/find_run.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::experiments {
namespace {

namespace fs = std::filesystem;

/// The factors of the last finished stage of a run.
Factors last_factors(const fs::path& run_folder) {
  std::size_t stage = 0;
  const auto folder = [&](std::size_t number) { return run_folder / "checkpoints" / fmt::format("stage-{}", number); };
  while (fs::exists(folder(stage) / "DONE")) ++stage;
  if (stage == 0)
    throw ConfigError(fmt::format("run '{}' has no finished stage to export", run_folder.filename().string()));
  return read_factors((folder(stage - 1) / "factors.safetensors").string());
}

void write(const ExportArguments& arguments) {
  const fs::path run_folder = storage::find_run(arguments.store, arguments.run);
  const storage::RunReader run(run_folder);
  if (const auto state = run.status().state; state != storage::RunState::done) {
    log_warning(fmt::format("run {} is {}: exporting its last finished stage", run.id(), storage::to_string(state)));
  }
  const auto spec = ExperimentSpec::read(
      config::parse_toml(run.description().config_toml, (run_folder / "config.toml").string()), ".");
  const ModelAccess access(spec.model.path);
  auto model = access.load();
  if (spec.model.head == ModelSpec::Head::untied) model.untie_head();
  auto student = spec.student_blocks.empty() ? std::move(model) : model.with_blocks(spec.student_blocks);
  Factors factors = last_factors(run_folder);
  for (const auto& [layer, weight] : operators_of(last_factors(run_folder))) student.replace_layer(layer, weight);
  const auto format = arguments.format == "dense" ? ExportFormat::dense : ExportFormat::factors;
  export_model(student, factors, access.files(), format, arguments.out);
  log_info(fmt::format("{} written to {} ({})", run.id(), arguments.out, arguments.format));
}

}  // namespace

int export_model(const comm::Communicator& world, const ExportArguments& arguments) {
  comm::coordinate(world, std::function<void()>([&] {
                     if (world.is_root()) write(arguments);
                   }));
  return 0;
}

}  // namespace kronlab::experiments
