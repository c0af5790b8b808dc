// `kronlab-submit`: a sweep becomes Slurm jobs.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <exception>

#include "framework/base/error.hpp"
#include "slurm/submit.hpp"

namespace {

using namespace kronlab;

void add_machine_options(CLI::App& app, slurm::SubmitArguments& a) {
  const std::pair<const char*, const char*> options[] = {{"ranks", "MPI ranks of a task"},
                                                         {"threads", "threads of a rank"},
                                                         {"nodes", "nodes of a task"},
                                                         {"partition", "partition"},
                                                         {"account", "account"},
                                                         {"qos", "quality of service"},
                                                         {"constraint", "features that a node must have"},
                                                         {"time", "time limit of a task: \"90\" (minutes), \"02:30:00\", \"1-12:00:00\""},
                                                         {"memory", "memory of a node: \"4000M\", \"16G\""},
                                                         {"launcher", "auto, srun or mpirun"}};
  for (const auto& [key, what] : options) {
    app.add_option_function<std::string>(
           std::string("--") + key, [&a, name = std::string(key)](const std::string& value) { a.machine_options.emplace_back(name, value); }, what)
        ->group("In place of what the machine file says");
  }
}

}  // namespace

int main(int argc, char** argv) {
  slurm::SubmitArguments a;
  a.store = "kronlab-store", a.machine = "base";
  CLI::App app(
      "Submits the runs of a sweep that are missing - not done, not queued, not worked on - as an array job, and a job behind it that makes the table.\n"
      "Exit codes: 0 done, 1 Slurm or the store failed, 2 configuration, or something that cannot fit.",
      "kronlab-submit");
  app.add_option("FILE", a.file, "TOML file of an experiment or a sweep")->required();
  app.add_option("--set", a.overrides, "key=value: puts a value into the file, as for kronlab run")->allow_extra_args(false)->take_all();
  app.add_option("--store", a.store, "folder of the record")->envname("KRONLAB_STORE")->capture_default_str();
  app.add_option("--machine", a.machine, "name of a file in slurm/machines, or a .toml file")->envname("KRONLAB_MACHINE")->capture_default_str();
  app.add_option("--machines", a.machines, "folder of the machine files")->envname("KRONLAB_MACHINES");
  app.add_option("--pack", a.pack, "runs that a task does one after another")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--max-parallel", a.max_parallel, "tasks that run at a time at most (0: all)")->check(CLI::NonNegativeNumber);
  app.add_option("--table-spec", a.table_spec, "SPEC.toml of kronlab-report table (default: all runs of the experiment)")->check(CLI::ExistingFile);
  app.add_option("--table", a.table, "file for the table (default: STORE/tables/EXPERIMENT.txt)");
  app.add_flag("--dry-run", a.is_dry_run, "print the scripts and the commands, and submit nothing");
  app.add_flag("--json", a.as_json, "one JSON object on standard output");
  add_machine_options(app, a);
  try {
    app.parse(argc, argv);
    return slurm::submit(a);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::usage);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kronlab-submit: %s\n", error.what());
    return static_cast<int>(exit_code(error));
  }
}
