#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include "analysis/commands.hpp"
#include "analysis/gnuplot.hpp"
#include "analysis/heat_map.hpp"
#include "analysis/pareto.hpp"
#include "analysis/perplexity_points.hpp"
#include "analysis/run_selection.hpp"
#include "analysis/search_curves.hpp"
#include "analysis/spectra.hpp"
#include "analysis/training_curves.hpp"
#include "framework/base/error.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  RunSelection selection;
  std::string out;  ///< empty: none
  bool is_terminal = false;
  std::vector<std::string> curves;  ///< metrics to draw over the steps of the training
  bool searches = false;            ///< the curves of the permutation searches
  bool spectra = false;
  std::string pareto;    ///< what size is counted in
  std::vector<std::string> datasets;  ///< of perplexities; empty: all
  std::string heat_map;  ///< a number of layers
};

/// The perplexities on the chosen data sets; none where none are chosen, which stands for all.
std::vector<storage::Measure> chosen_perplexities(const Options& options, const std::vector<storage::RunReader>& runs) {
  if (options.datasets.empty()) return {};
  auto measures = storage::measures_of(runs);
  std::erase_if(measures, [](const auto& measure) { return measure.name != "eval/perplexity"; });
  std::set<std::string> known;
  for (const auto& measure : measures) known.insert(measure.dataset);
  for (const auto& dataset : options.datasets) {
    if (!known.contains(dataset)) throw ConfigError(fmt::format("--dataset: no run has a perplexity on '{}'; there are: {}", dataset, fmt::join(known, ", ")));
  }
  std::erase_if(measures, [&](const auto& measure) { return std::ranges::find(options.datasets, measure.dataset) == options.datasets.end(); });
  return measures;
}

/// Perplexities, unless another subject is named.
Drawing draw(const Options& options, const std::vector<storage::RunReader>& runs, Medium medium) {
  if (options.searches) return search_curves(runs, medium);
  if (!options.curves.empty()) return training_curves(runs, options.curves, medium);
  if (options.spectra) return spectra(runs, medium);
  if (!options.heat_map.empty()) return heat_map(runs, options.heat_map, medium);
  const auto results = storage::results_of(runs, storage::RowsOfRun::last, chosen_perplexities(options, runs));
  if (options.pareto.empty()) return perplexity_points(results, medium);
  return pareto(results, options.pareto == "parameters" ? SizeOf::parameters : SizeOf::stored_bytes, medium);
}

void run(const Options& options) {
  if (options.out.empty() && !options.is_terminal) throw ConfigError("nowhere to draw: expected --out FILE.png, .svg or .pdf, or --terminal");
  const auto runs = open_runs(options.selection);
  if (options.is_terminal) draw_in_terminal(draw(options, runs, Medium::terminal));
  if (options.out.empty()) return;
  draw_picture(draw(options, runs, Medium::picture), options.out);
  std::fprintf(stderr, "wrote %s\n", options.out.c_str());
}

}  // namespace

void add_plot_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plot", "A picture of the runs: their perplexities beside the dense model's, unless another subject is named");
  options->selection.add_store_option(*command);
  options->selection.add_run_arguments(*command);
  command->add_option("--out", options->out, "The picture to write: .png, .svg or .pdf");
  command->add_option("--dataset", options->datasets, "Perplexities on these data sets only");
  command->add_flag("--terminal", options->is_terminal, "A quick look on standard output");
  auto* subject = command->add_option_group("subject", "what is drawn, at most one of");
  subject->add_option("--pareto", options->pareto, "Size, parameters or stored_bytes (without a word: parameters), against perplexity, with the Pareto front")
      ->check(CLI::IsMember({"parameters", "stored_bytes"}))
      ->expected(0, 1)
      ->default_str("parameters");
  subject
      ->add_option("--curves", options->curves,
                   "Metrics over the training's steps, such as distill/loss (without a name: distill/validation_perplexity)")
      ->expected(0, -1)
      ->default_str("distill/validation_perplexity");
  subject->add_flag("--searches", options->searches, "The errors that permutation searches reached, over their candidate moves");
  subject->add_flag("--spectra", options->spectra, "The singular values of what was truncated");
  subject->add_option("--heat-map", options->heat_map,
                      "Layers by block and kind, coloured by relative_error, weighted_error, search_value, seconds, or a metric that has layers (without a "
                      "name: relative_error)")
      ->expected(0, 1)
      ->default_str("relative_error");
  subject->require_option(0, 1);
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
