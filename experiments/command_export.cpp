#include "experiments/commands.hpp"
#include "experiments/pipeline/export_model.hpp"
#include "experiments/pipeline/student.hpp"
#include "framework/base/progress.hpp"
#include "framework/storage/find_run.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::experiments {
namespace {

namespace fs = std::filesystem;

void write(const ExportArguments& arguments) {
  const fs::path run_folder = storage::find_run(arguments.store, arguments.run);
  const storage::RunReader run(run_folder);
  if (const auto state = run.status().state; state != storage::RunState::done) {
    log_warning(fmt::format("run {} is {}: exporting its last finished stage", run.id(), storage::to_string(state)));
  }
  const auto spec = ExperimentSpec::read(
      config::parse_toml(run.description().config_toml, (run_folder / "config.toml").string()), ".");
  const ModelAccess access(spec.model.path);
  const auto student = finished_student(spec, access, run_folder);
  const auto format = arguments.format == "dense" ? ExportFormat::dense : ExportFormat::factors;
  export_model(student, factors_of(student), access.files(), format, arguments.out);
  log_info(fmt::format("{} written to {} ({})", run.id(), arguments.out, arguments.format));
}

}  // namespace

int export_model(const comm::Communicator& world, const ExportArguments& arguments) {
  comm::coordinate(world, [&] {
    if (world.is_root()) write(arguments);
  });
  return 0;
}

}  // namespace kronlab::experiments
