#include "experiments/pipeline/finished_run.hpp"

#include <utility>

#include "experiments/pipeline/student.hpp"
#include "framework/base/progress.hpp"
#include "framework/storage/find_run.hpp"
#include "framework/storage/run_reader.hpp"

namespace kronlab::experiments {

FinishedRun FinishedRun::open(const std::string& store, const std::string& run) {
  const std::filesystem::path folder = storage::find_run(store, run);
  const storage::RunReader reader(folder);
  if (const auto state = reader.status().state; state != storage::RunState::done) {
    log_warning(fmt::format("run {} is {}: taking its last finished stage", reader.id(), storage::to_string(state)));
  }
  const auto spec = ExperimentSpec::read(
      config::parse_toml(reader.description().config_toml, (folder / "config.toml").string()), ".");
  ModelAccess access(spec.model.path);
  auto student = finished_student(spec, access, folder);
  return {reader.id(), std::move(access), std::move(student)};
}

}  // namespace kronlab::experiments
