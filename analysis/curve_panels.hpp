#pragma once

#include <string>
#include <utility>
#include <vector>

namespace kronlab::analysis {

/// A line of a panel.
struct Curve {
  std::string label;
  std::vector<std::pair<double, double>> points;
};

struct CurvePanel {
  std::string title;  ///< of the vertical axis
  std::vector<Curve> curves;
};

/// A gnuplot script of panels under each other.
std::string panels_script(const std::vector<CurvePanel>& panels, const std::string& x_title, bool logarithmic_x = false);

}  // namespace kronlab::analysis
