// The `kronlab` driver: puts the parts together and hands over to a command.
#include <omp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <span>

#include "experiments/commands.hpp"
#include "framework/base/stop_request.hpp"
#include "framework/comm/machine.hpp"

namespace {

using namespace kronlab;
using namespace kronlab::experiments;

std::string default_store() {
  const char* store = std::getenv("KRONLAB_STORE");
  return store && *store ? store : "kronlab-store";
}

/// What the command line asks for.
struct Arguments {
  BudgetArguments budget;
  CheckArguments check;
  ProfileArguments profile;
  RunArguments run, train;
  EvalArguments eval;
  ExportArguments export_model;
  ImportArguments import_configuration;
  GenerateArguments generate;
  bool oversubscribe = false;
};

CLI::Option* add_sweep(CLI::App& command, SweepArguments& sweep) {
  auto* file = command.add_option("FILE", sweep.file, "TOML file of an experiment or a sweep")->required();
  command
      .add_option("--set", sweep.overrides, "key=value: puts a value into the file, e.g. --set model.path=models/gpt2")
      ->allow_extra_args(false)
      ->take_all();
  return file;
}

CLI::App* add_check(CLI::App& app, CheckArguments& a) {
  auto* command = app.add_subcommand(
      "check", "print the plan of every run: cell, what is done, layers, shapes, parameters, bytes, memory, time; computes nothing");
  add_sweep(*command, a.sweep);
  command->add_option("--store", a.store, "folder of the record, which need not exist")->capture_default_str();
  command->add_option("--ranks", a.ranks, "number of ranks that memory and time are for (default: as many as there are)")->check(CLI::PositiveNumber);
  command->add_option("--threads", a.threads, "cores of each rank (default: as the rates were measured)")->check(CLI::PositiveNumber);
  command->add_option("--machine", a.machine, "TOML file with the [rates] of a machine, from `kronlab profile` (default: assumed rates)");
  command->add_flag("!--no-cells", a.reads_contents, "read neither model nor texts: no cells, no states, but an answer at once for any size");
  command->add_flag("--json", a.as_json, "one JSON object on standard output");
  return command;
}

CLI::App* add_budget(CLI::App& app, BudgetArguments& a) {
  auto* command = app.add_subcommand("budget", "choose a method and size for each layer within the [budget] of a file, from what its runs measured, and write the plan as an experiment");
  add_sweep(*command, a.sweep);
  command->add_option("--store", a.store, "folder of the record")->capture_default_str();
  command->add_option("--out", a.out, "TOML file to write the plan to (default: standard output, behind the tables)");
  command->add_flag("--json", a.as_json, "one JSON object on standard output: allocations, the choice of each unit, the plan");
  return command;
}

/// What `run` and its like take. Returns the file.
CLI::Option* add_run_options(CLI::App& command, RunArguments& a) {
  auto* file = add_sweep(command, a.sweep);
  command.add_option("--store", a.store, "folder of the record")->capture_default_str();
  auto* json = command.add_flag("--json", a.as_json, "one JSON object on standard output: runs with state, cell, folder and results");
  command.add_flag("--quiet", a.is_quiet, "only errors and one line with the result; the runs' logs have all")->excludes(json);
  command.add_option("--jobs", a.jobs, "this many processes share the runs and this machine's cores; without mpirun")->check(CLI::PositiveNumber)->capture_default_str();
  command.add_option("--one-of", a.one_of)->check(CLI::PositiveNumber)->group("");  // what --jobs tells those that it starts
  command.add_option("--cells", a.cells, "only the runs of these cells (between commas), as `kronlab check` names them")->delimiter(',');
  command.add_option("--max-failures", a.max_failures, "A run that failed this often is not tried again")->check(CLI::PositiveNumber)->capture_default_str();
  return file;
}

CLI::App* add_run(CLI::App& app, RunArguments& a, const char* name, const char* what) {
  auto* command = app.add_subcommand(name, what);
  add_run_options(*command, a);
  return command;
}

CLI::App* add_profile(CLI::App& app, ProfileArguments& a) {
  auto* command = app.add_subcommand("profile",
                                     "with FILE: what each layer costs the model alone, for a sweep whose stages have `sensitivity`; without: what this machine does "
                                     "in a second, for `kronlab check --machine`, under mpirun between ranks too");
  auto* file = add_run_options(*command, a.run)->required(false);
  command->add_option("--out", a.out, "TOML file whose [rates] are written; its other tables stay, its comments do not (default: standard output)")->excludes(file);
  command->add_option("--scratch", a.scratch, "folder on the disk that is measured")->excludes(file)->capture_default_str();
  return command;
}

CLI::App* add_eval(CLI::App& app, EvalArguments& a) {
  auto* command = app.add_subcommand("eval", "perplexity of a model on a text");
  command->add_option("MODEL", a.model, "Hugging Face folder or .gguf file")->required();
  command->add_option("--text", a.text, "text file, UTF-8")->required();
  command->add_option("--window", a.window, "tokens of one forward pass")->capture_default_str();
  command->add_option("--stride", a.stride, "tokens from one window to the next (default: the window)");
  command->add_option("--join", a.join, "none: the text as it is; rows: its lines joined by blank lines")
      ->check(CLI::IsMember({"none", "rows"}))
      ->capture_default_str();
  command->add_option("--average", a.average, "over tokens or over windows")
      ->check(CLI::IsMember({"tokens", "windows"}))
      ->capture_default_str();
  command->add_option("--tail", a.tail, "the last, shorter window")
      ->check(CLI::IsMember({"keep", "drop"}))
      ->capture_default_str();
  command->add_option("--normaliser", a.normaliser, "perplexity per token or per word")
      ->check(CLI::IsMember({"token", "word"}))
      ->capture_default_str();
  command->add_flag("--last-word", a.last_word, "predict the last word of each passage (LAMBADA): a line, or \"text\" of a line of a .jsonl file")
      ->excludes("--stride", "--join", "--average", "--tail", "--normaliser");
  command->add_option("--reference", a.reference, "model to compare with: KL, JSD, agreement; of the same vocabulary");
  command->add_option("--max-windows", a.max_windows, "only the first windows (0: all)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--precision", a.precision, "fp32, bf16 or fp64")
      ->check(CLI::IsMember({"fp32", "bf16", "fp64"}))
      ->capture_default_str();
  command->add_flag("--json", a.as_json, "one JSON object on standard output");
  return command;
}

CLI::App* add_export(CLI::App& app, ExportArguments& a) {
  auto* command = app.add_subcommand("export", "write a run's compressed model as a Hugging Face folder");
  command->add_option("RUN", a.run, "id of a run, a unique part of one, or its folder")->required();
  command->add_option("--format", a.format, "dense: weights multiplied out, for any tool; factors: kept as factors")
      ->check(CLI::IsMember({"dense", "factors"}))
      ->capture_default_str();
  command->add_option("--out", a.out, "folder to write")->required();
  command->add_option("--store", a.store, "folder of the record")->capture_default_str();
  return command;
}

CLI::App* add_import(CLI::App& app, ImportArguments& a) {
  auto* command =
      app.add_subcommand("import", "write the experiment that another program's configuration file describes, as TOML");
  command->add_option("FORMAT", a.format, "tq: TQCompressor's layers with r, m1, n1, m2, n2, d, q_num, use_p, use_q")
      ->required()
      ->check(CLI::IsMember({"tq"}));
  command->add_option("FILE", a.file, "the configuration file")->required();
  command->add_option("--model", a.model, "path of the model that the experiment names")->capture_default_str();
  command->add_option("--out", a.out, "TOML file to write (default: standard output)");
  return command;
}

CLI::App* add_generate(CLI::App& app, GenerateArguments& a) {
  auto* command = app.add_subcommand("generate", "continue a text by a model or by a run's compressed model");
  command
      ->add_option("MODEL_OR_RUN", a.source,
                   "Hugging Face folder, .gguf file, or a run: its id, a unique part of it, or its folder")
      ->required();
  auto* prompt = command->add_option_group("prompt", "the text that is continued, one of");
  prompt->add_option("--prompt", a.prompt, "the text itself; empty: the token that begins a text");
  prompt->add_option("--prompt-file", a.prompt_file, "a text file, UTF-8, taken as it is");
  prompt->require_option(1);
  command->add_option("--tokens", a.tokens, "new tokens at most")->capture_default_str();
  command
      ->add_option("--temperature", a.temperature, "divides the logits before the softmax (0: always the most likely token)")
      ->capture_default_str();
  command->add_option("--top-p", a.top_p, "draw from the most likely tokens that have this share of the probability")
      ->capture_default_str();
  command->add_option("--seed", a.seed, "of the random numbers: the same seed gives the same text")
      ->capture_default_str();
  command->add_option("--precision", a.precision, "fp32, bf16 or fp64")
      ->check(CLI::IsMember({"fp32", "bf16", "fp64"}))
      ->capture_default_str();
  command->add_option("--store", a.store, "folder of the record")->capture_default_str();
  command->add_flag("--json", a.as_json, "one JSON object on standard output at the end, in place of the text");
  return command;
}

int drive(const comm::Communicator& world, int argc, char** argv, const std::vector<std::string>& environment) {
  Arguments a;
  a.run.environment = a.train.environment = a.profile.run.environment = environment;
  a.budget.store = a.check.store = a.run.store = a.train.store = a.profile.run.store = a.export_model.store = a.generate.store = default_store();
  a.train.must_train = true, a.profile.run.must_measure = true;
  a.profile.scratch = std::filesystem::temp_directory_path().string();
  a.run.command_line.assign(argv, argv + argc);
  a.train.command_line = a.profile.run.command_line = a.run.command_line;
  CLI::App app(
      "kronlab compresses language models with tensor decompositions and measures what that costs.\n"
      "Alone or under mpirun -n N. Exit codes: 0 done, 1 some run failed, 2 configuration or data, 75 stopped after a "
      "checkpoint.");
  app.require_subcommand(1);
  app.set_version_flag("--version", KRONLAB_VERSION);
  app.add_flag("--oversubscribe", a.oversubscribe, "more threads than cores are meant")
      ->envname("KRONLAB_OVERSUBSCRIBE");
  app.fallthrough();
  const std::pair<CLI::App*, std::function<int()>> commands[] = {
      {add_check(app, a.check), [&] { return check(world, a.check); }},
      {add_run(app, a.run, "run", "do every run of a file that is not done yet, and print the table"), [&] { return run(world, a.run); }},
      {add_run(app, a.train, "train", "the same for a file whose stages train: a student against a teacher, or a model from nothing"),
       [&] { return run(world, a.train); }},
      {add_budget(app, a.budget), [&] { return budget(world, a.budget); }},
      {add_profile(app, a.profile), [&] { return profile(world, a.profile); }},
      {add_eval(app, a.eval), [&] { return eval(world, a.eval); }},
      {add_export(app, a.export_model), [&] { return export_model(world, a.export_model); }},
      {add_import(app, a.import_configuration), [&] { return import_configuration(world, a.import_configuration); }},
      {add_generate(app, a.generate), [&] { return generate(world, a.generate); }},
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = world.is_root() ? app.exit(error) : error.get_exit_code();
    return code == 0 ? 0 : static_cast<int>(ExitCode::usage);
  }
  a.run.threads = a.train.threads = a.profile.threads = a.profile.run.threads = comm::threads_per_rank(
      world, a.oversubscribe ? comm::Oversubscription::allowed : comm::Oversubscription::refused);
  omp_set_num_threads(a.run.threads);
  a.run.may_oversubscribe = a.train.may_oversubscribe = a.profile.run.may_oversubscribe = a.oversubscribe;
  for (const auto& [command, action] : commands) {
    if (command->parsed()) return action();
  }
  return static_cast<int>(ExitCode::usage);
}

}  // namespace

int main(int argc, char** argv) {
  // Before MPI: a signal that comes while ranks start asks for something too; without a handler it would end them.
  const std::span words(argv, static_cast<std::size_t>(argc));
  const auto command = std::ranges::find_if(words.subspan(1), [](const char* word) { return word[0] != '-'; });
  if (command != words.end() && (std::string(*command) == "run" || std::string(*command) == "train" || std::string(*command) == "profile")) StopRequest::install_handlers();
  std::vector<std::string> environment;  // before MPI adds its own
  for (char** entry = environ; *entry; ++entry) environment.emplace_back(*entry);
  return comm::run(argc, argv, [&](const comm::Communicator& world) { return drive(world, argc, argv, environment); });
}
