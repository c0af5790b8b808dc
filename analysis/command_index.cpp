#include <CLI/App.hpp>
#include <cstdio>
#include <memory>

#include "analysis/commands.hpp"
#include "analysis/json_output.hpp"
#include "analysis/run_selection.hpp"
#include "framework/base/progress.hpp"
#include "framework/storage/run_index.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  RunSelection selection;
  bool from_nothing = false, is_json = false;
};

void run(const Options& options) {
  std::unique_ptr<Progress> progress;
  const auto update = storage::update_index(options.selection.store, options.from_nothing, [&](Index done, Index all) {
    if (!progress) progress = std::make_unique<Progress>("runs", all);
    progress->update(done);
  });
  if (options.is_json) {
    print_json({{"store", options.selection.store}, {"read", update.read}, {"unchanged", update.unchanged}, {"gone", update.gone}});
  } else {
    std::printf("%s/index.sqlite: %lld runs read, %lld unchanged, %lld gone\n", options.selection.store.c_str(), static_cast<long long>(update.read),
                static_cast<long long>(update.unchanged), static_cast<long long>(update.gone));
  }
}

}  // namespace

void add_index_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("index", "Brings STORE/index.sqlite up to date, so that lists of many runs are quick");
  options->selection.add_store_option(*command);
  command->add_flag("--from-nothing", options->from_nothing, "Make it anew");
  command->add_flag("--json", options->is_json, "One JSON object on standard output");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
