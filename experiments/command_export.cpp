#include "experiments/commands.hpp"
#include "experiments/pipeline/export_model.hpp"
#include "experiments/pipeline/finished_run.hpp"
#include "experiments/pipeline/student.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {
namespace {

void write(const ExportArguments& arguments) {
  const auto run = FinishedRun::open(arguments.store, arguments.run);
  const auto format = arguments.format == "dense" ? ExportFormat::dense : ExportFormat::factors;
  export_model(run.student, factors_of(run.student), run.access.files(), format, arguments.out);
  log_info(fmt::format("{} written to {} ({})", run.id, arguments.out, arguments.format));
}

}  // namespace

int export_model(const comm::Communicator& world, const ExportArguments& arguments) {
  comm::coordinate(world, [&] {
    if (world.is_root()) write(arguments);
  });
  return 0;
}

}  // namespace kronlab::experiments
