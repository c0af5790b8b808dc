#include "experiments/ended_run.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "experiments/pipeline/summary_table.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::experiments {
namespace {

using nlohmann::json;

/// What a run came to: its perplexities with those of the dense model, its size and its time.
json results_of(const std::string& folder) {
  std::vector<storage::RunReader> readers;
  readers.emplace_back(folder);
  const auto results = storage::results_of(readers);
  const auto row = std::ranges::find(results.rows, false, &storage::ResultRow::is_dense);
  const auto dense = std::ranges::find(results.rows, true, &storage::ResultRow::is_dense);
  json measured = json::array();
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    const auto& measure = results.measures[m];
    json entry = {{"name", measure.name}, {"unit", measure.unit}, {"dataset", measure.dataset}, {"protocol", measure.protocol}};
    const auto add = [&](const char* key, const auto& of) {
      if (of == results.rows.end() || !of->measured[m]) return;
      entry[key] = of->measured[m]->value;
      if (of->measured[m]->standard_error) entry[fmt::format("{}_standard_error", key)] = *of->measured[m]->standard_error;
    };
    add("value", row), add("dense", dense);
    measured.push_back(std::move(entry));
  }
  json all = {{"measured", measured}};
  if (row == results.rows.end()) return all;
  const std::pair<const char*, std::optional<double>> numbers[] = {
      {"parameters", row->num_parameters}, {"stored_bytes", row->stored_bytes}, {"relative_error", row->relative_error}, {"weighted_error", row->weighted_error}, {"seconds", row->seconds}};
  for (const auto& [key, value] : numbers) {
    if (value) all[key] = *value;
  }
  return all;
}

}  // namespace

json to_json(const EndedRun& ended) {
  const auto& summary = ended.summary;
  json run = {{"label", summary.label}, {"state", ended.state()}, {"done_before", summary.was_done_before}};
  for (const auto& [key, text] : {std::pair{"id", &summary.id}, {"cell", &summary.cell}, {"folder", &summary.folder}, {"error", &ended.error}, {"held_by", &summary.held_by}}) {
    if (!text->empty()) run[key] = *text;
  }
  if (ended.code != ExitCode::done) run["exit_code"] = static_cast<int>(ended.code);
  if (ended.is_done()) run["results"] = results_of(summary.folder);
  return run;
}

EndedRun ended_run_from(const json& json) {
  EndedRun ended;
  auto& summary = ended.summary;
  summary.label = json.at("label"), summary.was_done_before = json.at("done_before");
  for (const auto& [key, text] : {std::pair{"id", &summary.id}, {"cell", &summary.cell}, {"folder", &summary.folder}, {"error", &ended.error}, {"held_by", &summary.held_by}})
    *text = json.value(key, "");
  const std::string state = json.at("state");
  ended.code = state == "interrupted" ? ExitCode::checkpointed : static_cast<ExitCode>(json.value("exit_code", state == "failed" ? 1 : 0));
  return ended;
}

namespace {

void print_json(const RunArguments& arguments, const std::vector<EndedRun>& all) {
  json runs = json::array();
  for (const auto& ended : all) runs.push_back(to_json(ended));
  fmt::print("{}\n", json{{"file", arguments.sweep.file}, {"store", arguments.store}, {"runs", runs}}.dump(2));
}

/// "e.toml: 3 of 4 run(s) done (1 before), 1 failed; store 'kronlab-store'".
std::string result_line(const RunArguments& arguments, std::size_t num_runs, const std::vector<EndedRun>& all) {
  std::map<std::string, std::size_t> counts;
  std::size_t num_before = 0;
  for (const auto& ended : all) ++counts[ended.state()], num_before += ended.summary.was_done_before;
  std::string line = fmt::format("{}: {} of {} run(s) done ({} before)", arguments.sweep.file, counts["done"], num_runs, num_before);
  for (const auto& [state, count] : counts) {
    if (state != "done") line += fmt::format(", {} {}", count, state);
  }
  return line + fmt::format("; store '{}'", arguments.store);
}

void print_table(const RunArguments& arguments, const std::vector<EndedRun>& all) {
  std::vector<std::string> ids;
  for (const auto& ended : all) {
    if (ended.is_done()) ids.push_back(ended.summary.id);
  }
  fmt::print("{}", summary_table(arguments.store, ids));
  for (const auto& ended : all) {
    if (!ended.error.empty()) fmt::print("{}: {}: {}\n", ended.state(), ended.summary.label, ended.error);
    if (ended.is_held()) fmt::print("held: {}: left to {}, which works on it\n", ended.summary.label, ended.summary.held_by);
  }
}

}  // namespace

void print_ended(const RunArguments& arguments, std::size_t num_runs, const std::vector<EndedRun>& all) {
  if (arguments.as_json) return print_json(arguments, all);
  if (!arguments.is_quiet) print_table(arguments, all);
  fmt::print("{}\n", result_line(arguments, num_runs, all));
}

std::optional<double> seconds_left(const std::vector<EndedRun>& all, std::size_t num_runs, double elapsed_s, int one_of) {
  const auto own = std::ranges::count_if(all, [](const EndedRun& run) { return !run.is_held() && !run.summary.was_done_before; });
  if (own == 0) return std::nullopt;
  return static_cast<double>(num_runs - all.size()) / one_of * elapsed_s / static_cast<double>(own);
}

/// All wrong in the same way is a wrong file; else some run failed. The last one tells whether a signal ended the sweep.
int exit_code_of(const std::vector<EndedRun>& all) {
  if (!all.empty() && all.back().code == ExitCode::checkpointed) return static_cast<int>(ExitCode::checkpointed);
  std::set<ExitCode> codes;
  for (const auto& ended : all) codes.insert(ended.code);
  return static_cast<int>(codes.size() == 1 ? *codes.begin() : ExitCode::failed);
}

}  // namespace kronlab::experiments
