#include "experiments/commands.hpp"
#include "experiments/pipeline/tq_configuration.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/progress.hpp"

namespace kronlab::experiments {

int import_configuration(const comm::Communicator& world, const ImportArguments& arguments) {
  comm::coordinate(world, [&] {
    if (!world.is_root()) return;
    const auto toml = experiment_of_tq(read_text_file(arguments.file), arguments.file, arguments.model);
    if (arguments.out.empty()) {
      fmt::print("{}", toml);
    } else {
      write_file_atomically(arguments.out, toml);
      log_info(fmt::format("{} written; what it leaves open is said in it", arguments.out));
    }
  });
  return 0;
}

}  // namespace kronlab::experiments
