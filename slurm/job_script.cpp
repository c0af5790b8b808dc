#include "slurm/job_script.hpp"

#include <fmt/format.h>

#include "slurm/command.hpp"
#include "slurm/queue.hpp"
#include "slurm/script_texts.hpp"
#include "slurm/slurm_units.hpp"

namespace kronlab::slurm {
namespace {

/// A line that sbatch reads; a value with blanks stands in double quotes.
std::string asked(const std::string& option, const std::string& value) {
  return fmt::format("#SBATCH --{}={}\n", option, value.find(' ') == std::string::npos ? value : '"' + value + '"');
}

/// What both jobs ask for.
std::string whose(const Machine& machine) {
  std::string text;
  for (const auto& [option, value] :
       {std::pair{"partition", machine.partition}, {"account", machine.account}, {"qos", machine.qos}, {"constraint", machine.constraint}}) {
    if (!value.empty()) text += asked(option, value);
  }
  for (const auto& option : machine.options) text += fmt::format("#SBATCH {}\n", option);
  return text;
}

std::string lines(const std::vector<std::string>& all) {
  std::string text;
  for (const auto& line : all) text += line + "\n";
  return text;
}

/// A line for each task with one of its runs' texts.
std::string lines_of_tasks(const Submission& submission, std::string PlannedRun::*text, const char* separator) {
  std::string all;
  for (const auto& runs : submission.tasks) {
    std::string line;
    for (const auto& run : runs) line += (line.empty() ? "" : separator) + run.*text;
    all += line + "\n";
  }
  return all;
}

}  // namespace

std::string job_script(const Submission& s) {
  const auto& m = s.machine;
  std::string text = "#!/bin/bash\n";
  text += asked("job-name", s.job_name()) + asked("comment", comment_prefix + s.folder);
  text += asked("array", fmt::format("1-{}{}", s.tasks.size(), s.max_parallel > 0 ? fmt::format("%{}", s.max_parallel) : ""));
  text += whose(m) + asked("nodes", std::to_string(m.nodes)) + asked("ntasks", std::to_string(m.ranks));
  if (m.nodes > 1) text += asked("ntasks-per-node", std::to_string(m.ranks_per_node()));
  text += asked("cpus-per-task", std::to_string(m.threads)) + asked("mem", fmt::format("{}M", s.memory_mib)) + asked("time", time_text(s.time_s));
  text +=
      asked("signal", fmt::format("B:USR1@{}", m.signal_s)) + "#SBATCH --requeue\n" + asked("open-mode", "append") + asked("output", s.folder + "/task-%a.log");
  std::vector<std::string> arguments{"run", s.sweep.path, "--store", s.sweep.store};
  for (const auto& text_of : s.sweep.overrides) arguments.insert(arguments.end(), {"--set", text_of});
  text += fmt::format("\nprogram={}\narguments=({})\nfolder={}\nlauncher={} max_restarts={}\nscratch=\"{}\"\n{}\n", quoted(s.kronlab), quoted(arguments),
                      quoted(s.folder), m.launcher, m.max_restarts, m.scratch, lines(m.setup));
  return text + job_text;
}

std::string table_script(const Submission& s) {
  std::string text = "#!/bin/bash\n" + asked("job-name", s.job_name() + "-table") + asked("comment", comment_prefix + s.folder);
  text += whose(s.machine) + asked("ntasks", "1") + asked("mem", "500M") + asked("time", "00:10:00") + asked("output", s.folder + "/table.log");
  text += fmt::format("\nreport={}\narguments=({})\ntable={}\n{}\n", quoted(s.report), quoted(s.table_arguments), quoted(s.table), lines(s.machine.setup));
  return text + table_text;
}

std::string cells_text(const Submission& submission) { return lines_of_tasks(submission, &PlannedRun::cell, ","); }

std::string labels_text(const Submission& submission) { return lines_of_tasks(submission, &PlannedRun::label, "\t"); }

}  // namespace kronlab::slurm
