#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/comm/communicator.hpp"
#include "framework/config/sweep.hpp"

namespace kronlab::experiments {

// The commands of `kronlab`, one function each. Each returns its exit code; standard output belongs to results.
// Collective.

/// A sweep's file and what the command line changes in it.
struct SweepArguments {
  std::string file;
  std::vector<std::string> overrides;  ///< key=value
};
/// Root reads the file and what it includes; all ranks expand the same texts. @throws CollectiveError
std::vector<config::RunSpec> load_sweep(const comm::Communicator& world, const SweepArguments& arguments);

/// Those of a sweep whose cells these are, in the sweep's sequence; `folder` is what the configuration's paths belong to.
/// @throws CollectiveError if the sweep has no such cell: the file, its model or its texts have changed since
std::vector<config::RunSpec> runs_of_cells(const comm::Communicator& world, std::vector<config::RunSpec> runs, const std::vector<std::string>& cells,
                                           const std::string& folder);

struct CheckArguments {
  SweepArguments sweep;
  std::string store;  ///< need not exist
  int ranks = 0;      ///< that memory and time are for; 0: as many as there are
  int threads = 0;    ///< of each of them; 0: as many as the machine's rates were measured with
  std::string machine;  ///< file with [rates]; empty: assumed ones
  bool reads_contents = true;  ///< of model and texts: to know the cells
  bool as_json = false;
};
/// Prints every run's plan: cell, what the store knows of it, layers, shapes, sizes, and what its parts would cost: time, memory,
/// bytes moved. Reads weights only to hash them.
int check(const comm::Communicator& world, const CheckArguments& arguments);

struct BudgetArguments {
  SweepArguments sweep;
  std::string store;
  std::string out;  ///< file for the plan; empty: standard output, behind the tables
  bool as_json = false;
};
/// Chooses a method and size for each unit of a profile within the file's [budget], and writes the plan as an experiment.
int budget(const comm::Communicator& world, const BudgetArguments& arguments);

struct RunArguments {
  SweepArguments sweep;
  std::string store;
  std::vector<std::string> command_line;
  std::vector<std::string> environment;  ///< "NAME=VALUE", before MPI began
  int jobs = 1;                          ///< processes that share the sweep
  int one_of = 1;                        ///< this process is one of so many
  bool may_oversubscribe = false;        ///< more threads of jobs than cores are meant
  std::vector<std::string> cells;  ///< only these runs; empty: all
  int threads = 1;
  Index max_failures = 3;
  bool as_json = false;
  bool is_quiet = false;    ///< errors and one line with the result only
  bool must_train = false;  ///< each run has a stage that trains: `kronlab train`
  bool must_measure = false;  ///< each run has a stage with `sensitivity`: `kronlab profile FILE`
};
/// Does every run of a sweep that is not done, and prints their table. A run that fails does not stop the others.
int run(const comm::Communicator& world, const RunArguments& arguments);

struct ProfileArguments {
  RunArguments run;     ///< what is profiled, where it names a file
  std::string out;      ///< TOML file; its [rates] are replaced; empty: standard output
  std::string scratch;  ///< folder for a file of each rank, on the disk that is measured
  int threads = 1;      ///< of each rank
};
/// Measures what each layer of a model is worth: a sweep whose stages have `sensitivity`; or, without a file, what the machine does
/// in a second, all ranks together.
int profile(const comm::Communicator& world, const ProfileArguments& arguments);

struct EvalArguments {
  std::string model;
  std::string text;
  Index window = 1024;
  std::optional<Index> stride;  ///< the window, if not given
  std::string join = "none";
  std::string average = "tokens";
  std::string tail = "keep";
  std::string normaliser = "token";
  bool last_word = false;  ///< of each passage, in place of a perplexity over all of the text
  std::string reference;   ///< a model to compare with; empty: none
  Index max_windows = 0;
  std::string precision = "fp32";
  bool as_json = false;
};
/// Perplexity of a model on a text, or of its passages' last words, and how far it is from a reference.
int eval(const comm::Communicator& world, const EvalArguments& arguments);

struct ExportArguments {
  std::string run;
  std::string store;
  std::string format = "dense";
  std::string out;
};
/// Writes a run's student as a Hugging Face folder, with dense weights or with its factors.
int export_model(const comm::Communicator& world, const ExportArguments& arguments);

struct ImportArguments {
  std::string format;  ///< "tq"
  std::string file;
  std::string model = "models/gpt2";  ///< path that the experiment gets
  std::string out;                    ///< empty: standard output
};
/// Writes the experiment that another program's configuration file describes, as TOML.
int import_configuration(const comm::Communicator& world, const ImportArguments& arguments);

struct GenerateArguments {
  std::string source;  ///< path of a model, else a run: id, unique part of one, or folder
  std::string store;
  std::string prompt;
  std::string prompt_file;  ///< in place of `prompt`
  Index tokens = 128;
  double temperature = 0.8;
  double top_p = 0.95;
  std::uint64_t seed = 0;
  std::string precision = "fp32";
  bool as_json = false;
};
/// Continues a text by a model or by a run's student, on root; the other ranks wait.
int generate(const comm::Communicator& world, const GenerateArguments& arguments);

}  // namespace kronlab::experiments
