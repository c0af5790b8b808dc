#include "analysis/pareto.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "analysis/label_placement.hpp"
#include "analysis/palette.hpp"
#include "framework/base/error.hpp"

namespace kronlab::analysis {
namespace {

struct Point {
  std::string label;
  double size = 0.0;  ///< in the axis' unit
  double value = 0.0, error = 0.0;
};

struct Panel {
  storage::Measure measure;
  std::vector<Point> points, dense;
  std::vector<std::size_t> front;
};

/// Million parameters or megabytes.
constexpr double unit = 1e6;

std::vector<Panel> panels_of(const storage::Results& results, SizeOf size) {
  std::vector<Panel> panels;
  for (std::size_t m = 0; m < results.measures.size(); ++m) {
    Panel panel{results.measures[m], {}, {}, {}};
    std::vector<double> sizes, values;
    for (const auto& row : results.rows) {
      const auto& measured = row.measured[m];
      const auto& bytes_or_parameters = size == SizeOf::parameters ? row.num_parameters : row.stored_bytes;
      if (!measured || !std::isfinite(measured->value) || !bytes_or_parameters) continue;
      const Point point{row.label, *bytes_or_parameters / unit, measured->value, measured->standard_error.value_or(0.0)};
      (row.is_dense ? panel.dense : panel.points).push_back(point);
      if (!row.is_dense) sizes.push_back(point.size), values.push_back(point.value);
    }
    panel.front = pareto_front(sizes, values);
    if (!panel.points.empty()) panels.push_back(std::move(panel));
  }
  if (panels.empty()) throw ConfigError(fmt::format("none of the chosen runs has both a finite eval/perplexity and size/{}", size == SizeOf::parameters ? "parameters" : "stored_bytes"));
  return panels;
}

/// From values to the drawing: an axis of a panel.
struct Axis {
  double low = 0.0, high = 1.0;
  bool is_logarithmic = false;
  double place(double value) const {  ///< 0 to 1
    return is_logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  }
};

Axis axis_of(double low, double high, double margin) {
  Axis axis{low, high, low > 0 && high / low > 20};
  if (axis.is_logarithmic) {
    const double factor = std::pow(high / low, margin);
    axis.low /= factor, axis.high *= factor;
  } else {
    const double more = std::max((high - low) * margin, 0.02 * std::abs(high));
    axis.low -= more, axis.high += more;
  }
  return axis;
}

/// Where a panel is in its drawing.
struct Layout {
  double width, height;  ///< of one panel
  double left, right, top, bottom;  ///< margins
  double key;                       ///< height of the key's middle
  LabelArea labels() const {
    return {width - left - right, height - top - bottom, character_width, line_height, gap};
  }
  double character_width, line_height, gap;
};

Layout layout_of(Medium medium, std::size_t num_points) {
  if (medium == Medium::terminal) return {terminal_columns() - 1, 28, 10, 2, 3, 6, 1, 1, 1, 1};
  const double more = std::min(20.0 * static_cast<double>(num_points > 12 ? num_points - 12 : 0), 600.0);
  return {1100, 560 + more, 90, 30, 62, 104, 24, 7.2, 15, 8};
}

std::string data_block(const std::string& name, const std::vector<Point>& points) {
  std::string text = fmt::format("${} << EOD\n", name);
  for (const auto& point : points) text += fmt::format("{} {} {}\n", point.size, point.value, point.error);
  return text + "EOD\n";
}

/// The front as steps: what is possible at each size.
std::string front_block(const std::string& name, const Panel& panel) {
  std::string text = fmt::format("${} << EOD\n", name);
  for (const auto at : panel.front) text += fmt::format("{} {}\n", panel.points[at].size, panel.points[at].value);
  return text + "EOD\n";
}

/// From values to a panel's own unit.
struct Places {
  Axis x, y;
  LabelArea area;
  double at_x(double value) const { return x.place(value) * area.width; }
  double at_y(double value) const { return y.place(value) * area.height; }
};

/// Error bars, the front and the dense models' lines: what texts should not cover.
std::vector<Box> obstacles_of(const Panel& panel, const Places& places) {
  constexpr double half = 2.5;
  std::vector<Box> boxes;
  for (const auto* points : {&panel.points, &panel.dense}) {
    for (const auto& point : *points) boxes.push_back({places.at_x(point.size) - half, places.at_x(point.size) + half, places.at_y(point.value - point.error), places.at_y(point.value + point.error)});
  }
  for (const auto& point : panel.dense) boxes.push_back({0, places.area.width, places.at_y(point.value) - half, places.at_y(point.value) + half});
  for (std::size_t i = 0; i + 1 < panel.front.size(); ++i) {
    const auto &from = panel.points[panel.front[i]], &to = panel.points[panel.front[i + 1]];
    const double corner_x = places.at_x(to.size), high = places.at_y(from.value);
    boxes.push_back({places.at_x(from.size), corner_x, high - half, high + half});
    boxes.push_back({corner_x - half, corner_x + half, places.at_y(to.value), high});
  }
  return boxes;
}

/// The front has the first choice; in a terminal there is only room for the front and dense models.
std::vector<const Point*> points_to_label(const Panel& panel, Medium medium) {
  std::vector<const Point*> sequence;
  for (const auto at : panel.front) sequence.push_back(&panel.points[at]);
  for (const auto& point : panel.dense) sequence.push_back(&point);
  for (std::size_t i = 0; i < panel.points.size() && medium == Medium::picture; ++i) {
    if (std::ranges::find(panel.front, i) == panel.front.end()) sequence.push_back(&panel.points[i]);
  }
  return sequence;
}

void add_labels(std::string& script, const Panel& panel, const Places& places, Medium medium) {
  const auto& area = places.area;
  std::vector<LabelledPoint> points;
  for (const auto* point : points_to_label(panel, medium)) points.push_back({places.at_x(point->size), places.at_y(point->value), cut_to(point->label, 40)});
  const auto labels = place_labels(points, medium == Medium::picture ? obstacles_of(panel, places) : std::vector<Box>(), area);
  const auto graph = [&](double x, double y) { return fmt::format("graph {:.5f},{:.5f}", x / area.width, y / area.height); };
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto& label = labels[i];
    const std::string& text = points[i].text;
    script += fmt::format("set label {} at {} center noenhanced font ',10' front\n", quoted(text), graph(label.x, label.y));
    if (label.is_far && medium == Medium::picture)
      script += fmt::format("set arrow from {} to {} nohead lw 0.7 lc rgb '#909090' back\n", graph(points[i].x, points[i].y), graph(label.line_x, label.line_y));
  }
}

void add_panel(std::string& script, const Panel& panel, std::size_t index, std::size_t num_panels, const Layout& layout, const std::string& x_title, Medium medium) {
  double smallest = 1e300, largest = 0, low = 1e300, high = 0;
  for (const auto* points : {&panel.points, &panel.dense}) {
    for (const auto& point : *points) {
      smallest = std::min(smallest, point.size), largest = std::max(largest, point.size);
      low = std::min(low, point.value - point.error), high = std::max(high, point.value + point.error);
    }
  }
  const Axis x = axis_of(smallest, largest, 0.08), y = axis_of(low, high, 0.1);
  const double total = static_cast<double>(num_panels) * layout.height, top = total - static_cast<double>(index) * layout.height;
  script += fmt::format("unset label\nunset arrow\nset lmargin at screen {:.5f}\nset rmargin at screen {:.5f}\nset tmargin at screen {:.5f}\nset bmargin at screen {:.5f}\n",
                        layout.left / layout.width, 1 - layout.right / layout.width, (top - layout.top) / total, (top - layout.height + layout.bottom) / total);
  script += fmt::format("set xrange [{}:{}]\nset yrange [{}:{}]\n{} logscale x\n{} logscale y\n", x.low, x.high, y.low, y.high, x.is_logarithmic ? "set" : "unset",
                        y.is_logarithmic ? "set" : "unset");
  script += fmt::format("set xlabel {}\nset ylabel 'perplexity [1], lower is better'\nset title {} . \"\\n\" . {} noenhanced font ',10'\n", quoted(x_title),
                        plain_quoted(panel.measure.dataset), plain_quoted(panel.measure.protocol));
  script += fmt::format("set key at screen 0.5,{:.5f} center center horizontal Left reverse maxcols 3 samplen 3 font ',10'\n", (top - layout.height + layout.key) / total);
  add_labels(script, panel, {x, y, layout.labels()}, medium);
  script += data_block(fmt::format("points{}", index), panel.points) + data_block(fmt::format("dense{}", index), panel.dense) + front_block(fmt::format("front{}", index), panel);
  const auto compressed = line_style(0), front = line_style(1), dense = line_style(2);
  script += fmt::format("plot $front{} using 1:2 with steps lw 2 dt {} lc rgb '{}' title 'Pareto front', ", index, front.dash, front.colour);
  script += fmt::format("$points{} using 1:2:3 with yerrorbars pt {} ps 1.2 lw 1.5 lc rgb '{}' title 'compressed, ± standard error'", index, compressed.point, compressed.colour);
  if (!panel.dense.empty())
    script += fmt::format(", $dense{0} using 1:2:3 with yerrorbars pt {1} ps 1.5 lw 1.5 lc rgb '{2}' title 'dense', $dense{0} using ({3}):2:({4}):(0) with vectors nohead dt {5} lc rgb '{2}' notitle", index,
                          dense.point, dense.colour, x.low, x.high - x.low, dense.dash);
  script += "\n";
}

}  // namespace

std::vector<std::size_t> pareto_front(const std::vector<double>& sizes, const std::vector<double>& losses) {
  KRONLAB_EXPECTS(sizes.size() == losses.size(), "{} sizes and {} losses", sizes.size(), losses.size());
  std::vector<std::size_t> by_size(sizes.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::ranges::sort(by_size, [&](std::size_t a, std::size_t b) { return std::pair(sizes[a], losses[a]) < std::pair(sizes[b], losses[b]); });
  std::vector<std::size_t> front;
  for (const auto at : by_size) {
    if (front.empty() || losses[at] < losses[front.back()]) front.push_back(at);
  }
  return front;
}

Drawing pareto(const storage::Results& results, SizeOf size, Medium medium) {
  const auto panels = panels_of(results, size);
  std::size_t most = 0;
  for (const auto& panel : panels) most = std::max(most, panel.points.size());
  const Layout layout = layout_of(medium, most);
  Drawing drawing{layout.width, layout.height * static_cast<double>(panels.size()), {}};
  std::string& script = drawing.script;
  script = grid(medium);
  if (panels.size() > 1) script += "set multiplot\n";
  const std::string title = size == SizeOf::parameters ? "parameters [million]" : "stored size [MB]";
  for (std::size_t i = 0; i < panels.size(); ++i) add_panel(script, panels[i], i, panels.size(), layout, title, medium);
  if (panels.size() > 1) script += "unset multiplot\n";
  return drawing;
}

}  // namespace kronlab::analysis
