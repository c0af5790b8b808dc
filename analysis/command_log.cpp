#include <CLI/App.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "analysis/commands.hpp"
#include "analysis/log_lines.hpp"
#include "analysis/run_selection.hpp"
#include "framework/storage/run_database.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  RunSelection selection;
  std::string run;
  Index attempt = 0;  ///< 0: all
  Index lines = 0;    ///< the last so many; 0: all
};

std::string title_of(const storage::AttemptRecord& attempt) {
  std::string title = fmt::format("== attempt {}: {}, {}", attempt.number, attempt.started_at, storage::process_for_people(attempt.process));
  if (!attempt.job.empty()) title += ", Slurm job " + attempt.job;
  title += ", " + storage::to_string(attempt.state);
  return attempt.reason.empty() ? title : title + ": " + attempt.reason;
}

/// Words of one attempt. @throws ConfigError if the run has no such attempt or it left no words
std::vector<std::string> lines_of_attempt(const storage::RunReader& run, Index number) {
  const auto attempts = run.attempts();
  if (number > static_cast<Index>(attempts.size())) {
    throw ConfigError(fmt::format("run {} has {} attempts, expected --attempt to be one of them, found {}", run.id(), attempts.size(), number));
  }
  const auto path = storage::attempt_log_path(run.folder(), number);
  if (!std::filesystem::exists(path)) throw ConfigError(fmt::format("attempt {} of run {} left no words: there is no '{}'", number, run.id(), path.string()));
  return read_lines(path);
}

/// Words of all attempts, each below a title that says how it ended.
std::vector<std::string> lines_of_all(const storage::RunReader& run) {
  std::vector<std::string> lines;
  for (const auto& attempt : run.attempts()) {
    lines.push_back(title_of(attempt));
    const auto path = storage::attempt_log_path(run.folder(), attempt.number);
    if (!std::filesystem::exists(path)) {
      lines.push_back("(no words)");
      continue;
    }
    for (auto& line : read_lines(path)) lines.push_back(std::move(line));
  }
  if (lines.empty()) throw ConfigError(fmt::format("run {} left no words: it has no attempt", run.id()));
  return lines;
}

void run(const Options& options) {
  const auto reader = open_run(options.selection.store, options.run);
  const auto lines = options.attempt > 0 ? lines_of_attempt(reader, options.attempt) : lines_of_all(reader);
  const auto wanted = static_cast<std::size_t>(options.lines);
  for (std::size_t i = wanted > 0 && wanted < lines.size() ? lines.size() - wanted : 0; i < lines.size(); ++i) std::puts(lines[i].c_str());
}

}  // namespace

void add_log_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("log", "What a run said, attempt by attempt; times are UTC");
  options->selection.add_store_option(*command);
  command->add_option("RUN", options->run, "Id, unique beginning or end of an id, or path of the run's folder")->required();
  command->add_option("--attempt", options->attempt, "Only this attempt, counted from 1")->check(CLI::PositiveNumber);
  command->add_option("--lines", options->lines, "Only the last so many lines")->check(CLI::PositiveNumber);
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
