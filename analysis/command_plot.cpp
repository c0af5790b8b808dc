#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "analysis/commands.hpp"
#include "analysis/gnuplot.hpp"
#include "analysis/run_selection.hpp"
#include "analysis/search_curves.hpp"
#include "analysis/training_curves.hpp"
#include "framework/base/error.hpp"
#include "framework/storage/run_results.hpp"

namespace kronlab::analysis {
namespace {

struct Options {
  RunSelection selection;
  std::string out;
  std::vector<std::string> curves;  ///< metrics to draw over the steps of the training; none: perplexities
  bool searches = false;            ///< the curves of the permutation searches
};

/// One row of a panel.
struct Point {
  std::string label;
  double value = 0.0;
  double error = 0.0;
};

/// What is drawn of one measure: a point for each run, a line for each dense model.
struct Panel {
  storage::Measure measure;
  std::vector<Point> points;
  std::vector<Point> baselines;
};

std::vector<Panel> panels_of(const storage::Results& results) {
  std::vector<Panel> panels;
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    Panel panel{results.measures[m], {}, {}};
    for (const auto& row : results.rows) {
      const auto& measured = row.measured[m];
      if (!measured || !std::isfinite(measured->value)) continue;
      const Point point{row.label, measured->value, measured->standard_error.value_or(0.0)};
      (row.is_dense ? panel.baselines : panel.points).push_back(point);
    }
    if (!panel.points.empty()) panels.push_back(std::move(panel));
  }
  if (panels.empty()) throw ConfigError("none of the chosen runs has a finite eval/perplexity to draw");
  return panels;
}

void add_panel(std::string& script, const Panel& panel, std::size_t index) {
  const auto num_rows = panel.points.size();
  double low = panel.points.front().value, high = low;
  script += fmt::format("$panel{} << EOD\n", index);
  for (std::size_t i = 0; i < num_rows; ++i) {
    const Point& point = panel.points[i];
    low = std::min(low, point.value);
    high = std::max(high, point.value);
    script += fmt::format("{} {} {} {}\n", num_rows - i, point.value, point.error, plain_quoted(point.label));
  }
  script += "EOD\n";
  for (const auto& baseline : panel.baselines) {
    low = std::min(low, baseline.value);
    high = std::max(high, baseline.value);
  }
  const bool is_wide = low > 0.0 && high / low > 20.0;
  const double margin = std::max(high - low, 0.02 * std::abs(high)) * 0.08;
  script += is_wide ? "set logscale x\n" : "unset logscale x\n";
  script += is_wide ? fmt::format("set xrange [{}:{}]\n", low / 1.3, high * 1.3)
                    : fmt::format("set xrange [{}:{}]\n", low - margin, high + margin);
  script += fmt::format("set title {} . \"\\n\" . {} noenhanced\nset yrange [0.4:{}.6]\n",
                        plain_quoted(panel.measure.dataset), plain_quoted(panel.measure.protocol), num_rows);
  script += fmt::format(
      "plot $panel{} using 2:1:3:ytic(4) with xerrorbars pt 7 ps 1.3 lw 2 lc rgb '#2166ac' title 'compressed, ± "
      "standard error', $panel{} using 2:1:(sprintf('%.4g', $2)) with labels offset 0,0.9 font ',10' notitle",
      index, index);
  const char* const colours[] = {"#b2182b", "#d6604d", "#7f3b08", "#542788"};
  for (std::size_t b = 0; b < panel.baselines.size(); ++b) {
    const auto& baseline = panel.baselines[b];
    script += fmt::format(
        ", '+' using ({}):($0 / 99.0 * {}.2 + 0.4) every ::0::99 with lines lw 2 dt 2 lc rgb '{}' title {} noenhanced",
        baseline.value, num_rows, colours[b % std::size(colours)],
        quoted(fmt::format("{}: {:.4g}", baseline.label, baseline.value)));
  }
  script += "\n";
}

std::string script_of(const std::vector<Panel>& panels) {
  std::size_t num_rows = 0;
  for (const auto& panel : panels) num_rows += panel.points.size() + 7 + panel.baselines.size();
  const std::size_t height = std::clamp<std::size_t>(28 * num_rows, 260, 16'000);
  std::string script = picture_of_size(1100, height) + "set samples 100\nset grid x\nset ytics noenhanced\n";
  script += "set xlabel 'perplexity [1], lower is better'\nset key tmargin center vertical maxcols 1 samplen 3\n";
  if (panels.size() > 1) script += fmt::format("set multiplot layout {},1\n", panels.size());
  for (std::size_t i = 0; i < panels.size(); ++i) add_panel(script, panels[i], i);
  if (panels.size() > 1) script += "unset multiplot\n";
  return script;
}

void run(const Options& options) {
  const auto runs = open_runs(options.selection);
  draw_picture(options.searches         ? search_curves_script(runs)
               : options.curves.empty() ? script_of(panels_of(storage::results_of(runs)))
                                        : curves_script(runs, options.curves),
               options.out);
  std::fprintf(stderr, "wrote %s\n", options.out.c_str());
}

}  // namespace

void add_plot_command(CLI::App& app, Action& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plot", "A picture of the runs' perplexities beside the dense model's, of their training or of their permutation searches");
  options->selection.add_store_option(*command);
  options->selection.add_run_arguments(*command);
  command->add_option("--out", options->out, "The PNG file to write")->required();
  command
      ->add_option("--curves", options->curves,
                   "metrics to draw over the training's steps instead, such as distill/loss (without a name: distill/validation_perplexity)")
      ->expected(0, -1)
      ->default_str("distill/validation_perplexity");
  command->add_flag("--searches", options->searches, "the errors that permutation searches reached, over their candidate moves, instead");
  command->callback([options, &chosen] { chosen = [options] { run(*options); }; });
}

}  // namespace kronlab::analysis
