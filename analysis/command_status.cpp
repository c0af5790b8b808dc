#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <ranges>
#include <set>

#include "analysis/commands.hpp"
#include "analysis/gnuplot.hpp"
#include "analysis/json_output.hpp"
#include "analysis/log_lines.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/progress.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/claim.hpp"
#include "framework/storage/run_database.hpp"
#include "framework/storage/run_index.hpp"

namespace kronlab::analysis {
namespace {

using storage::IndexedRun;
using storage::QueuedJob;
using storage::RunState;

struct Options {
  RunSelection selection;
  Index width = ::isatty(STDOUT_FILENO) ? static_cast<Index>(terminal_columns()) : 0;
  bool has_done = false, is_json = false;
};

/// What is known of a run, or of a cell that waits for its first one.
struct Entry {
  std::string cell, id, name, label;
  std::string state;             ///< a run's, or "pending"
  const QueuedJob* job = nullptr;
  std::string place;             ///< host or nodes
  std::string said;              ///< why it ended or waits, or the last words of its log
  double silent_s = 0.0;         ///< since the last record
};

/// The last words of the run's last attempt, without their time.
std::string last_words(const IndexedRun& run, Index attempt) {
  try {
    for (const auto& line : read_lines(storage::attempt_log_path(run.folder, attempt)) | std::views::reverse) {
      const auto at = line.find_first_not_of("0123456789: ");  // "14:03:08  MLPs: step 12/400"
      if (at != std::string::npos) return line.substr(at);
    }
  } catch (const Error&) {  // not there yet
  }
  return {};
}

/// A store that has submissions only has no runs yet.
std::vector<IndexedRun> runs_of(const std::string& store) {
  const std::filesystem::path path = store;
  const bool is_submitted = std::filesystem::exists(path / "slurm") && !std::filesystem::exists(path / "runs");
  return is_submitted ? std::vector<IndexedRun>() : storage::indexed_runs(store);
}

/// Entries of a store, joined with the user's jobs where Slurm can be asked.
class Overview {
 public:
  Overview(const Options& options, const std::vector<QueuedJob>& jobs) : store_(options.selection.store) {
    for (const auto& job : jobs) {
      by_id_[job.id] = &job;
      for (const auto& cell : job.cells) by_cell_[cell] = &job;
    }
    for (const auto& run : runs_of(store_)) {
      if (!options.selection.experiment.empty() && run.name != options.selection.experiment) continue;
      ++counts_[run.problem.empty() ? storage::to_string(run.status.state) : "broken"];
      cells_.insert(run.cell);
      if (run.status.state != RunState::done || options.has_done) entries.push_back(entry_of(run));
    }
    if (!options.selection.experiment.empty()) return;  // whose the other cells are is not known
    for (const auto& [cell, job] : by_cell_) {
      if (cells_.contains(cell)) continue;
      ++counts_["pending"];
      Entry entry;
      entry.cell = cell, entry.label = label_of(*job, cell), entry.state = "pending", entry.job = job, entry.said = waits_for(*job);
      entries.push_back(std::move(entry));
    }
  }

  std::vector<Entry> entries;

  /// "5 cells: 2 done, 1 pending, 2 running".
  std::string totals() const {
    std::string text;
    int all = 0;
    for (const auto& [state, count] : counts_) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, state), all += count;
    return fmt::format("{} {}{}{}", all, all == 1 ? "cell" : "cells", text.empty() ? "" : ": ", text);
  }

 private:
  static std::string label_of(const QueuedJob& job, const std::string& cell) {
    const auto at = static_cast<std::size_t>(std::ranges::find(job.cells, cell) - job.cells.begin());
    return at < job.labels.size() ? job.labels[at] : "cell " + cell.substr(0, 12);
  }

  static std::string waits_for(const QueuedJob& job) {
    return job.state == "PENDING" ? fmt::format("waits: {}", job.reason) : fmt::format("{}, its run has not begun", job.state);
  }

  Entry entry_of(const IndexedRun& run) {
    Entry entry;
    entry.cell = run.cell, entry.id = run.id, entry.name = run.name, entry.label = run.label;
    if (!run.problem.empty()) {
      entry.state = "broken", entry.said = run.problem;
      return entry;
    }
    entry.state = storage::to_string(run.status.state), entry.said = run.status.reason;
    entry.silent_s = storage::seconds_of_utc(storage::utc_now()) - storage::seconds_of_utc(run.status.updated_at);
    const auto attempts = storage::RunReader(run.folder).attempts();
    const std::string job = attempts.empty() ? "" : attempts.back().job;
    if (const auto found = by_id_.find(job); found != by_id_.end()) entry.job = found->second;
    if (const auto found = by_cell_.find(run.cell); !entry.job && found != by_cell_.end()) entry.job = found->second;
    const bool should_run = run.status.state == RunState::running || run.status.state == RunState::created;
    if (should_run) {
      entry.place = storage::process_for_people(run.status.writer);
      if (entry.job && entry.job->state == "PENDING") {
        mark(entry, RunState::interrupted, fmt::format("{}; Slurm has queued its job again", waits_for(*entry.job)));
      } else if (is_lost(run)) {
        mark(entry, RunState::lost, fmt::format("no sign of life from {}", entry.place));
      } else {
        entry.said = last_words(run, attempts.empty() ? 1 : attempts.back().number);
      }
    } else if (run.status.state != RunState::done && entry.job) {
      entry.said = fmt::format("{}; {}", waits_for(*entry.job), entry.said);
    }
    if (!entry.job && entry.state != "done") {
      if (const auto end = storage::slurm_end_of(job); !end.empty()) entry.said += fmt::format(" (Slurm job {}: {})", job, end);
    }
    if (entry.job && !entry.job->nodes.empty()) entry.place = entry.job->nodes;
    return entry;
  }

  /// Heartbeat and Slurm agree.
  bool is_lost(const IndexedRun& run) const {
    const bool is_elsewhere = storage::process_state(run.status.writer) == storage::ProcessState::elsewhere;
    return is_elsewhere && !run.cell.empty() && storage::holder_state(store_, run.cell) == storage::HolderState::gone;
  }

  void mark(Entry& entry, RunState state, const std::string& why) {
    --counts_[entry.state];
    if (counts_[entry.state] == 0) counts_.erase(entry.state);
    entry.state = storage::to_string(state), entry.said = why;
    ++counts_[entry.state];
  }

  std::string store_;
  std::map<std::string, const QueuedJob*> by_id_, by_cell_;
  std::set<std::string> cells_;
  std::map<std::string, int> counts_;
};

Json describe(const Entry& entry) {
  const auto text = [](const std::string& words) { return words.empty() ? Json(nullptr) : Json(words); };
  Json json = {{"cell", text(entry.cell)},   {"id", text(entry.id)},       {"name", text(entry.name)}, {"label", text(entry.label)},
               {"state", entry.state},       {"place", text(entry.place)}, {"said", text(entry.said)}, {"job", nullptr},
               {"silent_seconds", entry.id.empty() ? Json(nullptr) : json_number(entry.silent_s)}};
  if (entry.job) {
    const auto& job = *entry.job;
    json["job"] = {{"id", job.id}, {"name", job.name}, {"state", job.state}, {"reason", text(job.reason)}, {"time_left", text(job.time_left)},
                   {"nodes", text(job.nodes)}, {"excluded_nodes", text(job.excluded)}};
  }
  return json;
}

void print_text(const Overview& overview, std::size_t width, bool has_slurm) {
  TextTable table;
  for (const char* header : {"run", "state", "job", "on", "limit in", "silent", "says"}) table.columns.push_back({header, TextTable::Align::left});
  std::set<std::string> excluded;
  for (const auto& entry : overview.entries) {
    const auto* job = entry.job;
    if (job && !job->excluded.empty() && job->excluded != "(null)") excluded.insert(job->excluded);
    const bool is_active = entry.state == "running" || entry.state == "created";
    table.rows.push_back({entry.label.empty() ? entry.name : entry.label, entry.state, job ? fmt::format("{} {}", job->name, job->state) : "-",
                          entry.place.empty() ? "-" : entry.place, job ? job->time_left : "-", is_active ? format_duration(entry.silent_s) : "-",
                          entry.said.empty() ? "-" : entry.said});
  }
  if (width > 0) {
    std::size_t taken = 2 * (table.columns.size() - 1);
    for (std::size_t c = 0; c + 1 < table.columns.size(); ++c) {
      std::size_t widest = display_width(table.columns[c].header);
      for (const auto& row : table.rows) widest = std::max(widest, display_width(row[c]));
      taken += widest;
    }
    for (auto& row : table.rows) row.back() = cut_to(row.back(), std::max<std::size_t>(width > taken ? width - taken : 0, 20));
  }
  if (!table.rows.empty()) std::printf("%s\n", table.print(TextTable::Format::text).c_str());
  std::printf("%s\n", overview.totals().c_str());
  if (!excluded.empty()) std::printf("excluded nodes: %s\n", fmt::format("{}", fmt::join(excluded, ", ")).c_str());
  if (!has_slurm) std::printf("Slurm cannot be asked here: what waits in its queue is not shown\n");
}

void run(const Options& options) {
  const auto queue = storage::slurm_queue();  // before the runs: what ends in between is done
  const auto jobs = queue.value_or(std::vector<QueuedJob>());
  const Overview overview(options, jobs);
  if (!options.is_json) return print_text(overview, static_cast<std::size_t>(options.width), queue.has_value());
  Json entries = Json::array();
  for (const auto& entry : overview.entries) entries.push_back(describe(entry));
  print_json({{"store", options.selection.store}, {"has_slurm", queue.has_value()}, {"cells", std::move(entries)}});
}

}  // namespace

void add_status_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("status", "What is not done: runs that wait, run, were lost or failed, with their Slurm jobs where there are any");
  options->selection.add_store_option(*command);
  command->add_option("--experiment", options->selection.experiment, "Only runs of the experiment with this name");
  command->add_flag("--done", options->has_done, "Runs that are done too");
  command->add_option("--width", options->width, "Characters of a line, at which the last column is cut; 0: no limit (default: the terminal's, none in a file)")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", options->is_json, "One JSON object on standard output");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
