#include <CLI/App.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "analysis/commands.hpp"
#include "analysis/log_lines.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/claim.hpp"
#include "framework/storage/find_run.hpp"
#include "framework/storage/run_database.hpp"

namespace kronlab::analysis {
namespace {

using storage::RunState;

struct Options {
  RunSelection selection;
  std::string run;        ///< empty: the newest
  double interval_s = 2.0;
  Index lines = 10;       ///< of the log, at the beginning
  bool is_once = false;
};

std::filesystem::path folder_of(const Options& options) {
  if (!options.run.empty()) return storage::find_run(options.selection.store, options.run);
  const auto all = storage::list_run_folders(options.selection.store);
  if (all.empty()) throw ConfigError(fmt::format("the store '{}' has no run", options.selection.store));
  return all.back().folder;
}

std::string stage_text(Index stage) { return stage < 0 ? "dense" : fmt::format("stage {}", stage); }

std::string text_of(const Metric& metric) {
  std::string text = fmt::format("{} {}", metric.name, format_number(metric.value));
  if (metric.standard_error) text += " ± " + format_number(*metric.standard_error, 2);
  if (metric.unit != "1") text += " " + metric.unit;
  if (!metric.layer.empty()) text += " of " + metric.layer;
  return metric.dataset.empty() ? text : text + " on " + metric.dataset;
}

/// The numbers of one step.
struct Step {
  std::string line;
  std::set<std::string> names;
};

std::vector<Step> steps_of(const std::vector<Metric>& metrics) {
  std::vector<Step> steps;
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    const auto& metric = metrics[i];
    const bool is_same_step = i > 0 && metrics[i - 1].stage == metric.stage && metrics[i - 1].step == metric.step;
    if (!is_same_step) steps.push_back({fmt::format("{}, step {}: ", stage_text(metric.stage), metric.step), {}});
    steps.back().line += (is_same_step ? ", " : "") + text_of(metric);
    steps.back().names.insert(metric.name);
  }
  return steps;
}

/// What was told of a run, so that only what is new is told next.
class Follower {
 public:
  Follower(std::string store, std::filesystem::path folder, Index lines) : store_(std::move(store)), folder_(std::move(folder)), lines_(lines) {}

  /// Tells what is new. @return how the run is now
  storage::RunStatus tell() {
    const storage::RunReader run(folder_);  // anew: a journal that had to be rolled back is of that moment
    storage::RunStatus status = run.status();  // first: what is recorded before the end is told below
    note_writer_on_other_host(run, status);
    if (!has_begun_) std::printf("%s: %s\n", run.id().c_str(), label_of(run.description()).c_str());
    tell_attempts(run);
    tell_log();
    tell_stages(run);
    tell_metrics(run);
    has_begun_ = true;
    std::fflush(stdout);
    return status;
  }

 private:
  /// Its process cannot be asked from here: its claim tells.
  void note_writer_on_other_host(const storage::RunReader& run, storage::RunStatus& status) const {
    if (status.state != RunState::running || storage::process_state(status.writer) != storage::ProcessState::elsewhere) return;
    const std::string cell = run.description().cell;
    if (cell.empty() || storage::holder_state(store_, cell) != storage::HolderState::gone) return;
    status.state = RunState::lost;
    status.reason = fmt::format("no sign of life from {}", storage::process_for_people(status.writer));
  }

  void tell_attempts(const storage::RunReader& run) {
    const auto attempts = run.attempts();
    if (attempts.empty() || attempts.back().number == attempt_) return;
    attempt_ = attempts.back().number;
    if (attempt_ > 1) std::printf("attempt %lld: %s\n", static_cast<long long>(attempt_), storage::process_for_people(attempts.back().process).c_str());
    if (log_) tell_log();  // the last words of the attempt before
    log_.emplace(storage::attempt_log_path(folder_, attempt_));
  }

  void tell_log() {
    if (!log_) return;
    const auto lines = log_->new_lines();
    const auto most = static_cast<std::size_t>(lines_);
    for (std::size_t i = !has_begun_ && lines.size() > most ? lines.size() - most : 0; i < lines.size(); ++i) std::puts(lines[i].c_str());
  }

  void tell_stages(const storage::RunReader& run) {
    for (const auto& stage : run.stages()) {
      if (started_.emplace(stage.stage, stage.started_at).second) std::printf("%s: %s started %s\n", stage_text(stage.stage).c_str(), stage.name.c_str(), stage.started_at.c_str());
      if (stage.finished_at.empty() || !finished_.emplace(stage.stage, stage.finished_at).second) continue;
      std::printf("%s: %s finished in %s\n", stage_text(stage.stage).c_str(), stage.name.c_str(), format_duration(stage.seconds.value_or(0)).c_str());
    }
  }

  /// A line for each step, or where steps are quicker than looks only for the last ones and for those with other numbers.
  /// At the beginning only the last value of each name.
  void tell_metrics(const storage::RunReader& run) {
    std::vector<Metric> recorded;
    std::map<std::tuple<std::string, std::string, std::string>, std::size_t> last;  // by name, dataset and protocol
    const auto keep = [&](const Metric& metric) {
      if (!metric.layer.empty()) return;
      if (!has_begun_) {
        const auto [found, is_new] = last.emplace(std::tuple(metric.name, metric.dataset, metric.protocol), recorded.size());
        if (!is_new) {
          recorded[found->second] = metric;
          return;
        }
      }
      recorded.push_back(metric);
    };
    metric_ = run.visit_metrics(metric_, keep);
    constexpr std::size_t most = 3;
    const auto steps = steps_of(recorded);
    std::size_t num_left_out = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool is_like_last = std::ranges::includes(steps.back().names, steps[i].names);
      if (is_like_last && i + most < steps.size()) {
        ++num_left_out;
        continue;
      }
      if (num_left_out > 0) std::printf("(%zu steps)\n", std::exchange(num_left_out, 0));
      std::puts(steps[i].line.c_str());
    }
  }

  std::string store_;
  std::filesystem::path folder_;
  Index lines_;
  bool has_begun_ = false;
  Index attempt_ = 0, metric_ = 0;
  std::optional<GrowingFile> log_;
  std::set<std::pair<Index, std::string>> started_, finished_;  ///< stages and times
};

void run(const Options& options) {
  Follower follower(options.selection.store, folder_of(options), options.lines);
  for (;;) {
    const auto status = follower.tell();
    const bool goes_on = status.state == RunState::running || status.state == RunState::created;
    if (!goes_on || options.is_once) {
      std::printf("%s%s%s\n", storage::to_string(status.state).c_str(), status.reason.empty() ? "" : ": ", status.reason.c_str());
      return;
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_s));
  }
}

}  // namespace

void add_tail_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("tail", "Follows a run until it ends: its words, stages and metrics as they are recorded; the last line is its state");
  options->selection.add_store_option(*command);
  command->add_option("RUN", options->run, "Id, unique beginning or end of an id, or path of the run's folder (none: the newest run)");
  command->add_option("--interval", options->interval_s, "Seconds between two looks")->check(CLI::Range(0.01, 3600.0))->capture_default_str();
  command->add_option("--lines", options->lines, "Words from before that are shown")->check(CLI::NonNegativeNumber)->capture_default_str();
  command->add_flag("--once", options->is_once, "What is there now; does not wait");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
