#include "analysis/curve_panels.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/palette.hpp"
#include "framework/base/text_table.hpp"

namespace kronlab::analysis {
namespace {

constexpr std::size_t longest_label = 60;

/// How the key of a panel is laid out.
struct Key {
  std::size_t columns = 1, rows = 1;
};

Key key_of(const CurvePanel& panel, double width, double character_width, double sample_width) {
  std::size_t longest = 1;
  for (const auto& curve : panel.curves) longest = std::max(longest, std::min(longest_label, display_width(curve.label)));
  const double column = character_width * static_cast<double>(longest) + sample_width;
  Key key;
  key.columns = std::clamp<std::size_t>(static_cast<std::size_t>(width / column), 1, std::max<std::size_t>(panel.curves.size(), 1));
  key.rows = (panel.curves.size() + key.columns - 1) / key.columns;
  return key;
}

void add_panel(std::string& script, const CurvePanel& contents, std::size_t panel, Medium medium) {
  const auto& curves = contents.curves;
  std::string plots;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    script += fmt::format("$curve{}_{} << EOD\n", panel, i);
    for (const auto& [x, y] : curves[i].points) script += fmt::format("{} {}\n", x, y);
    script += "EOD\n";
    const auto style = line_style(i);
    // Some points of a long line carry its mark, at other places than its neighbours'.
    const auto every = std::max<std::size_t>(curves[i].points.size() / 12, 1);
    plots += fmt::format("{}$curve{}_{} using 1:2 with linespoints lw 2 dt {} pt {} ps 0.9 pi {} lc rgb '{}' title {} noenhanced", i == 0 ? "" : ", ", panel, i,
                         style.dash, style.point, medium == Medium::terminal ? 1 : every, style.colour, quoted(cut_to(curves[i].label, longest_label)));
  }
  script += fmt::format("set ylabel {} noenhanced\nplot {}\n", quoted(contents.title), plots);
}

}  // namespace

Drawing draw_panels(const std::vector<CurvePanel>& panels, const std::string& x_title, Scale scale, Medium medium) {
  const bool is_picture = medium == Medium::picture;
  Drawing drawing;
  drawing.width = is_picture ? 1100 : terminal_columns() - 1;
  const double plot_height = is_picture ? 400 : 20, row_height = is_picture ? 19 : 1, character_width = is_picture ? 8.2 : 1, sample_width = is_picture ? 75 : 8;
  std::size_t rows = 0;
  for (const auto& panel : panels) rows = std::max(rows, key_of(panel, drawing.width - 80, character_width, sample_width).rows);
  drawing.height = static_cast<double>(panels.size()) * (plot_height + row_height * static_cast<double>(rows));
  std::string& script = drawing.script;
  script = grid(medium) + fmt::format("set xlabel {} offset 0,{}\n", quoted(x_title), is_picture ? 0.4 : 0);
  if (scale != Scale::linear) script += scale == Scale::log_x ? "set autoscale xfix\nset logscale x\n" : "set autoscale xfix\nset logscale xy\n";
  if (panels.size() > 1) script += fmt::format("set multiplot layout {},1\n", panels.size());
  for (std::size_t i = 0; i < panels.size(); ++i) {
    const auto key = key_of(panels[i], drawing.width - 80, character_width, sample_width);
    script += fmt::format("set key outside bottom center horizontal Left reverse maxcols {} samplen 4\n", key.columns);
    add_panel(script, panels[i], i, medium);
  }
  if (panels.size() > 1) script += "unset multiplot\n";
  return drawing;
}

}  // namespace kronlab::analysis
