#pragma once

#include <string>
#include <utility>
#include <vector>

#include "analysis/gnuplot.hpp"

namespace kronlab::analysis {

/// A line of a panel.
struct Curve {
  std::string label;
  std::vector<std::pair<double, double>> points;
};

struct CurvePanel {
  std::string title;  ///< of the vertical axis, with its unit
  std::vector<Curve> curves;
};

/// Which axes are logarithmic.
enum class Scale { linear, log_x, log_both };

/// Panels under each other, each with a key below.
Drawing draw_panels(const std::vector<CurvePanel>& panels, const std::string& x_title, Scale scale, Medium medium);

}  // namespace kronlab::analysis
