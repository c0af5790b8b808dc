#include <CLI/App.hpp>
#include <cstdio>
#include <memory>

#include "analysis/commands.hpp"
#include "analysis/json_output.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/text_table.hpp"
#include "framework/storage/garbage.hpp"

namespace kronlab::analysis {
namespace {

using storage::Garbage;
using Align = TextTable::Align;

struct Options {
  RunSelection selection;
  storage::GarbageOptions garbage;
  bool is_wanted = false;  ///< --yes
  bool is_json = false;
};

/// What was found, and what became of it.
struct Outcome {
  Garbage garbage;
  bool is_deleted = false;
  std::string problem;  ///< why it could not be deleted
};

std::vector<Outcome> collect(const Options& options) {
  std::vector<Outcome> outcomes;
  for (auto& garbage : storage::find_garbage(options.selection.store, options.garbage)) outcomes.push_back({std::move(garbage), false, {}});
  if (!options.is_wanted) return outcomes;
  for (auto& outcome : outcomes) {
    try {
      outcome.is_deleted = storage::remove(options.selection.store, outcome.garbage, options.garbage);
    } catch (const StorageError& error) {  // the others go on
      outcome.problem = error.what();
    }
  }
  return outcomes;
}

std::string path_in_store(const Options& options, const Garbage& garbage) { return garbage.path.lexically_relative(options.selection.store).string(); }

Index total_bytes(const std::vector<Outcome>& outcomes, bool only_deleted) {
  Index total = 0;
  for (const auto& outcome : outcomes) total += !only_deleted || outcome.is_deleted ? outcome.garbage.bytes : 0;
  return total;
}

void print_as_json(const Options& options, const std::vector<Outcome>& outcomes) {
  Json json = {{"store", options.selection.store},
               {"bytes", total_bytes(outcomes, false)},
               {"deleted_bytes", total_bytes(outcomes, true)},
               {"found", Json::array()}};
  for (const auto& [garbage, is_deleted, problem] : outcomes) {
    json["found"].push_back({{"kind", storage::to_string(garbage.kind)}, {"path", path_in_store(options, garbage)}, {"bytes", garbage.bytes},
                             {"reason", garbage.reason}, {"deleted", is_deleted}, {"problem", problem}});
  }
  print_json(json);
}

std::string mark_of(const Options& options, const Outcome& outcome) {
  if (!options.is_wanted) return "";
  if (outcome.is_deleted) return "deleted";
  return outcome.problem.empty() ? "left: it is in use now" : "left: " + outcome.problem;
}

void print_text(const Options& options, const std::vector<Outcome>& outcomes) {
  if (outcomes.empty()) {
    std::printf("nothing to delete in '%s'\n", options.selection.store.c_str());
    return;
  }
  TextTable table{{{"what"}, {"path"}, {"size", Align::right}, {"why"}, {options.is_wanted ? "outcome" : ""}}, {}};
  for (const auto& outcome : outcomes) {
    const auto& garbage = outcome.garbage;
    table.rows.push_back({storage::to_string(garbage.kind), path_in_store(options, garbage), format_bytes(static_cast<double>(garbage.bytes)), garbage.reason,
                          mark_of(options, outcome)});
  }
  std::fputs(table.print(TextTable::Format::text).c_str(), stdout);
  if (options.is_wanted) {
    std::printf("\n%s deleted\n", format_bytes(static_cast<double>(total_bytes(outcomes, true))).c_str());
  } else {
    std::printf("\n%s could be deleted; nothing was: --yes does it\n", format_bytes(static_cast<double>(total_bytes(outcomes, false))).c_str());
  }
}

void run(const Options& options) {
  const auto outcomes = collect(options);
  if (options.is_json) {
    print_as_json(options, outcomes);
  } else {
    print_text(options, outcomes);
  }
  std::size_t num_problems = 0;
  for (const auto& outcome : outcomes) num_problems += outcome.problem.empty() ? 0 : 1;
  if (num_problems > 0) throw StorageError(fmt::format("{} of {} could not be deleted", num_problems, outcomes.size()));
}

}  // namespace

void add_gc_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "gc",
      "What could be deleted: checkpoints of finished trainings, failed and lost runs, what killed processes left, claims of processes that are gone, old "
      "entries of the cache. Deletes only with --yes; never runs that are being written, nor results of finished ones");
  options->selection.add_store_option(*command);
  auto& garbage = options->garbage;
  command->add_option("--older-than", garbage.older_than_days, "Days since the last record of a run, or the last use of a cache entry")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--interrupted", garbage.has_interrupted_runs, "Interrupted runs as old as that too: they cannot go on then");
  command->add_flag("--models", garbage.has_models, "The compressed models of finished runs too: they cannot be exported then; their record stays");
  command->add_flag("--yes", options->is_wanted, "Delete it");
  command->add_flag("--json", options->is_json, "One JSON object on standard output");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
