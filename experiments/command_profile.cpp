#include <filesystem>

#include "experiments/commands.hpp"
#include "experiments/pipeline/measure_rates.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"
#include "framework/comm/machine.hpp"
#include "framework/config/read_toml_file.hpp"

namespace kronlab::experiments {
namespace {

/// The file's other tables with these rates.
config::Value merged(const std::string& path, const MachineRates& rates) {
  config::Value file = config::Value::Table{};
  if (std::filesystem::exists(path)) file = config::read_toml_file(path);
  config::assign(file, "rates", *config::value_at(rates.to_value(), "rates"));
  return file;
}

}  // namespace

int profile(const comm::Communicator& world, const ProfileArguments& arguments) {
  if (!arguments.run.sweep.file.empty()) return run(world, arguments.run);
  log_info(fmt::format("measuring {} rank(s) of {} thread(s)", world.size(), arguments.threads));
  const auto rates = measure_rates(world, arguments.scratch, arguments.threads);
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    if (world.size() == 1) log_info("one rank has no network: its rates are assumed; measure them with mpirun -n N");
    if (arguments.out.empty()) {
      fmt::print("{}", config::to_toml(rates.to_value()));
    } else {
      const std::string words =
          fmt::format("# [rates] by `kronlab profile` with {} rank(s) of {} thread(s) on {}\n", world.size(), arguments.threads, comm::host_name());
      write_file_atomically(arguments.out, words + config::to_toml(merged(arguments.out, rates)));
    }
  });
  return 0;
}

}  // namespace kronlab::experiments
