#include "analysis/curve_panels.hpp"

#include <fmt/format.h>

#include "analysis/gnuplot.hpp"

namespace kronlab::analysis {
namespace {

void add_panel(std::string& script, const CurvePanel& contents, std::size_t panel) {
  const char* const colours[] = {"#2166ac", "#b2182b", "#1b7837", "#762a83", "#e08214", "#4d4d4d"};
  const auto& curves = contents.curves;
  std::string plots;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    script += fmt::format("$curve{}_{} << EOD\n", panel, i);
    for (const auto& [x, y] : curves[i].points) script += fmt::format("{} {}\n", x, y);
    script += "EOD\n";
    const bool has_few = curves[i].points.size() < 30;
    plots += fmt::format("{}$curve{}_{} using 1:2 with {} lw 2{} lc rgb '{}' title {} noenhanced", i == 0 ? "" : ", ", panel, i,
                         has_few ? "linespoints" : "lines", has_few ? " pt 7 ps 0.6" : "", colours[i % std::size(colours)], quoted(curves[i].label));
  }
  script += fmt::format("set ylabel {} noenhanced\nplot {}\n", quoted(contents.title), plots);
}

}  // namespace

std::string panels_script(const std::vector<CurvePanel>& panels, const std::string& x_title, bool logarithmic_x) {
  std::string script = picture_of_size(1100, 420 * panels.size()) +
                       fmt::format("set grid\nset xlabel {}\nset key outside right top vertical\n{}", quoted(x_title), logarithmic_x ? "set logscale x\n" : "");
  if (panels.size() > 1) script += fmt::format("set multiplot layout {},1\n", panels.size());
  for (std::size_t i = 0; i < panels.size(); ++i) add_panel(script, panels[i], i);
  if (panels.size() > 1) script += "unset multiplot\n";
  return script;
}

}  // namespace kronlab::analysis
