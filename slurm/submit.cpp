#include "slurm/submit.hpp"

#include <cctype>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"
#include "framework/base/nearest.hpp"
#include "framework/config/read_toml_file.hpp"
#include "slurm/command.hpp"
#include "slurm/environment.hpp"
#include "slurm/job_script.hpp"
#include "slurm/queue.hpp"
#include "slurm/slurm_units.hpp"

namespace kronlab::slurm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string machine_path(const SubmitArguments& arguments) {
  if (arguments.machine.ends_with(".toml")) return arguments.machine;
  if (arguments.machines.empty()) {
    throw ConfigError(fmt::format("where is the machine '{}'? Run slurm/submit, set KRONLAB_MACHINES to the folder of its file, or give --machine FILE.toml",
                                  arguments.machine));
  }
  const fs::path path = fs::path(arguments.machines) / (arguments.machine + ".toml");
  if (!fs::exists(path)) {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(arguments.machines, none)) names.push_back(entry.path().stem().string());
    throw ConfigError(fmt::format("there is no machine file '{}'{}: write it (include = \"base.toml\"), or choose another --machine", path.string(),
                                  did_you_mean(arguments.machine, names)));
  }
  return path.string();
}

/// An option of the command line takes the place of the file's key.
Machine read_machine(const SubmitArguments& arguments) {
  config::Value file = config::read_toml_file(machine_path(arguments));
  for (const auto& [key, text] : arguments.machine_options) {
    const bool is_count = key == "ranks" || key == "threads" || key == "nodes";
    config::Value value = is_count ? config::parse_scalar(text, "--" + key) : config::Value(text);
    value.position = {.file = "--" + key};
    config::assign(file, key, std::move(value));
  }
  return Machine::read(file);
}

std::string program_beside_this(const char* name) { return (fs::read_symlink("/proc/self/exe").parent_path() / name).string(); }

/// A path that may stand in a line of a job script, and in squeue's answer.
std::string script_path(const fs::path& path) {
  const std::string text = fs::weakly_canonical(path).string();
  if (text.find_first_of("\"\\%\n") != std::string::npos)
    throw ConfigError(fmt::format("'{}' cannot stand in a job script: quotes, backslashes and % mean something there", text));
  return text;
}

/// An experiment's name as that of a file.
std::string file_name(const std::string& experiment) {
  std::string name;
  for (const unsigned char c : experiment) name += std::isalnum(c) || c == '-' || c == '_' || c == '.' ? static_cast<char>(c) : '-';
  return name;
}

/// STORE/slurm/NAME-1, -2, ...: the first that is not there.
std::string free_folder(const std::string& store, const std::string& name) {
  for (int number = 1;; ++number) {
    const fs::path folder = fs::path(store) / "slurm" / fmt::format("{}-{}", name, number);
    if (!fs::exists(folder)) return folder.string();
  }
}

Submission plan(const SubmitArguments& arguments, const SweepFile& sweep, const Machine& machine, const Partition& partition, const std::string& kronlab,
                const std::vector<PlannedRun>& missing) {
  Submission s{.sweep = sweep,
               .machine = machine,
               .kronlab = kronlab,
               .report = program_beside_this("kronlab-report"),
               .folder = free_folder(sweep.store, file_name(missing[0].experiment)),
               .table = {},
               .table_arguments = {"table", "--store", sweep.store},
               .tasks = packs_of(missing, arguments.pack),
               .max_parallel = arguments.max_parallel};
  s.time_s = time_for(s.tasks, machine, partition), s.memory_mib = memory_for(missing, machine, partition);
  if (s.time_s <= machine.signal_s) {
    throw ConfigError(fmt::format("a task may take {}, which is not longer than signal_s, {} seconds before the limit: give more --time or a shorter signal_s",
                                  time_text(s.time_s), machine.signal_s));
  }
  s.table = script_path(arguments.table.empty() ? fs::path(sweep.store) / "tables" / (file_name(missing[0].experiment) + ".txt") : fs::path(arguments.table));
  if (arguments.table_spec.empty()) {
    s.table_arguments.insert(s.table_arguments.end(), {"--experiment", missing[0].experiment});
  } else {
    s.table_arguments.push_back(script_path(arguments.table_spec));
  }
  return s;
}

std::string script_file(const Submission& s, const char* name) { return s.folder + "/" + name; }

std::vector<std::string> sbatch_job(const Submission& s) { return {"sbatch", "--parsable", script_file(s, "job.sh")}; }
std::vector<std::string> sbatch_table(const Submission& s, const std::string& job) {
  return {"sbatch", "--parsable", "--dependency=afterany:" + job, script_file(s, "table.sh")};
}

/// The number of the job.
std::string sbatch(const std::vector<std::string>& words) {
  const auto output = run_command(words);
  if (output.exit_code != 0) {
    throw StorageError(
        fmt::format("'{}' ended with {}: {}{}", quoted(words), output.exit_code, output.err,
                    output.err.find("array") != std::string::npos ? " (too many tasks for one array? Put several runs into a task by --pack N)" : ""));
  }
  return output.out.substr(0, output.out.find_first_of(";\n"));  // "JOB;CLUSTER" where there are several
}

void write_folder(const Submission& s) {
  std::error_code code;
  fs::create_directories(fs::path(s.folder).parent_path(), code);
  if (!fs::create_directory(s.folder, code)) {
    throw StorageError(fmt::format("cannot make the folder '{}': {}", s.folder, code ? code.message() : "another submission has just made it; submit again"));
  }
  write_file_atomically(script_file(s, "labels"), labels_text(s));
  write_file_atomically(script_file(s, "cells"), cells_text(s));
  write_file_atomically(script_file(s, "job.sh"), job_script(s));
  write_file_atomically(script_file(s, "table.sh"), table_script(s));
  write_file_atomically(script_file(s, "environment"), environment_text(s.kronlab));
}

/// The numbers of the array and of the table's job. Where Slurm does not take the array nothing is left behind.
std::pair<std::string, std::string> submit_jobs(const Submission& s) {
  write_folder(s);
  std::string job;
  try {
    job = sbatch(sbatch_job(s));
  } catch (const StorageError&) {
    fs::remove_all(s.folder);
    throw;
  }
  try {
    return {job, sbatch(sbatch_table(s, job))};
  } catch (const StorageError& error) {
    throw StorageError(fmt::format("job {} is submitted, but not the one behind it that makes the table: {}", job, error.what()));
  }
}

std::string counts_text(const SubmitArguments& arguments, const SortedRuns& sorted) {
  return fmt::format("{}: {} run(s): {} done, {} queued, {} held, {} missing", arguments.file,
                     sorted.num_done + static_cast<Index>(sorted.queued.size() + sorted.held.size() + sorted.missing.size()), sorted.num_done,
                     sorted.queued.size(), sorted.held.size(), sorted.missing.size());
}

void print_runs(const SubmitArguments& arguments, const SortedRuns& sorted) {
  fmt::print("{}\n", counts_text(arguments, sorted));
  for (const auto& [run, job] : sorted.queued) fmt::print("  queued: {}: job {}\n", run.label, job);
  for (const auto& run : sorted.held) fmt::print("  held: {}: {}\n", run.label, run.reason);
}

void print_plan(const Submission& s, const Cost& cost) {
  fmt::print("  {} task(s) of up to {} run(s), each on {} node(s) with {} rank(s) of {} thread(s), {} per node, {}\n", s.tasks.size(), s.tasks[0].size(),
             s.machine.nodes, s.machine.ranks, s.machine.threads, memory_text(s.memory_mib), time_text(s.time_s));
  fmt::print("  expected: {}\n", cost.text());
  const double longest_s = longest_task_seconds(s.tasks), possible_s = static_cast<double>(s.time_s - s.machine.signal_s);
  if (longest_s > possible_s) {
    fmt::print("  the longest task is expected to take {}, more than its time limit: it is checkpointed and queued again {:.0f} time(s)\n",
               time_text(static_cast<Index>(longest_s)), std::ceil(longest_s / possible_s) - 1);
  }
}

void print_dry_run(const Submission& s) {
  fmt::print("\n== {}\n{}\n== {}\n{}\n== {}\n{}\n{}\n{}\n", script_file(s, "job.sh"), job_script(s), script_file(s, "cells"), cells_text(s),
             script_file(s, "table.sh"), table_script(s), quoted(sbatch_job(s)), quoted(sbatch_table(s, "JOB")));
}

json to_json(const SubmitArguments& arguments, const SortedRuns& sorted) {
  json all = {{"file", arguments.file},     {"done", sorted.num_done}, {"queued", json::array()}, {"held", json::array()},
              {"submitted", json::array()}, {"job", nullptr},          {"folder", nullptr}};
  for (const auto& [run, job] : sorted.queued) all["queued"].push_back({{"label", run.label}, {"cell", run.cell}, {"job", job}});
  for (const auto& run : sorted.held) all["held"].push_back({{"label", run.label}, {"cell", run.cell}, {"by", run.reason}});
  for (const auto& run : sorted.missing) all["submitted"].push_back({{"label", run.label}, {"cell", run.cell}});
  return all;
}

/// A dry run works where there is no Slurm.
std::map<std::string, std::string> queue_of(const SubmitArguments& arguments, const std::string& store) {
  try {
    return queued_cells(store);
  } catch (const StorageError& error) {
    if (!arguments.is_dry_run) throw;
    fmt::print(stderr, "kronlab-submit: warning: {}\n", error.what());
    return {};
  }
}

}  // namespace

SortedRuns sort_runs(const std::vector<PlannedRun>& runs, const std::map<std::string, std::string>& queued) {
  SortedRuns sorted;
  for (const auto& run : runs) {
    if (run.state == "done") {
      ++sorted.num_done;
    } else if (const auto job = queued.find(run.cell); job != queued.end()) {
      sorted.queued.emplace_back(run, job->second);
    } else if (run.state == "held") {
      sorted.held.push_back(run);
    } else {
      sorted.missing.push_back(run);
    }
  }
  return sorted;
}

int submit(const SubmitArguments& arguments) {
  const Machine machine = read_machine(arguments);
  const SweepFile sweep{script_path(arguments.file), script_path(arguments.store), arguments.overrides};
  const std::string kronlab = program_beside_this("kronlab");
  const auto queue = queue_of(arguments, sweep.store);  // before the states: what ends in between is done
  const auto sorted = sort_runs(planned_runs(kronlab, sweep, machine, machine_path(arguments)), queue);
  json answer = to_json(arguments, sorted);
  if (!arguments.as_json) print_runs(arguments, sorted);
  if (!sorted.missing.empty()) {
    const Partition partition = partition_of(machine);
    const auto largest = largest_run(sorted.missing);
    expect_fit(machine, partition, largest.memory_mib, largest.label);
    const Submission s = plan(arguments, sweep, machine, partition, kronlab, sorted.missing);
    const Cost cost = expected_cost(sorted.missing, machine, partition);
    answer["folder"] = s.folder, answer["node_hours"] = cost.node_hours, answer["core_hours"] = cost.core_hours, answer["tasks"] = s.tasks.size();
    if (!arguments.as_json) print_plan(s, cost);
    if (arguments.is_dry_run) {
      if (!arguments.as_json) print_dry_run(s);
    } else {
      const auto [job, table] = submit_jobs(s);
      answer["job"] = job, answer["table_job"] = table, answer["table"] = s.table;
      if (!arguments.as_json) fmt::print("submitted as job {}; job {} writes the table into {}; all else is in {}\n", job, table, s.table, s.folder);
    }
  }
  if (arguments.as_json) fmt::print("{}\n", answer.dump(2));
  return static_cast<int>(ExitCode::done);
}

}  // namespace kronlab::slurm
