#include "analysis/label_placement.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "framework/base/text_table.hpp"

namespace kronlab::analysis {
namespace {

double overlap(const Box& a, const Box& b) {
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left), height = std::min(a.top, b.top) - std::max(a.bottom, b.bottom);
  return width > 0 && height > 0 ? width * height : 0.0;
}

/// What of a box is outside the area.
double outside(const Box& box, const LabelArea& area) {
  const double all = (box.right - box.left) * (box.top - box.bottom);
  return all - overlap(box, {0, area.width, 0, area.height});
}

Box box_of(const PlacedLabel& label, double half_width, double half_height) {
  return {label.x - half_width, label.x + half_width, label.y - half_height, label.y + half_height};
}

/// A text as far from the point in this direction as the radius says.
PlacedLabel at_angle(const LabelledPoint& point, double half_width, double half_height, double radius, double angle) {
  const double dx = std::cos(angle), dy = std::sin(angle);
  // The direction's exit from the text's box touches the circle.
  const double reach = std::min(std::abs(dx) > 1e-9 ? half_width / std::abs(dx) : 1e300, std::abs(dy) > 1e-9 ? half_height / std::abs(dy) : 1e300);
  return {point.x + dx * (radius + reach), point.y + dy * (radius + reach), false, 0, 0};
}

}  // namespace

std::vector<PlacedLabel> place_labels(const std::vector<LabelledPoint>& points, const std::vector<Box>& obstacles, const LabelArea& area) {
  constexpr int num_angles = 16;
  constexpr double near = 1.5;  // gaps
  constexpr double touch = 0.9;  // of a gap: what is in its place touches its point's surroundings and is not in their way
  std::vector<Box> taken = obstacles;
  for (const auto& point : points) {
    const double half = touch * area.gap;
    taken.push_back({point.x - half, point.x + half, point.y - half, point.y + half});
  }
  std::vector<PlacedLabel> placed;
  for (const auto& point : points) {
    const double half_width = 0.5 * area.character_width * static_cast<double>(display_width(point.text)), half_height = 0.5 * area.line_height;
    PlacedLabel best;
    double least = 1e300;
    for (const double radius : {1.0, 1.4, 2.0, 3.0, 4.5, 6.5, 9.0, 12.0, 16.0, 21.0, 27.0}) {
      for (int k = 0; k < num_angles && least > 0; ++k) {
        // From the right around to both sides.
        const double angle = 2 * std::numbers::pi * ((k + 1) / 2) / num_angles * (k % 2 == 0 ? -1 : 1);
        auto candidate = at_angle(point, half_width, half_height, radius * area.gap, angle);
        const Box box = box_of(candidate, half_width, half_height);
        candidate.is_far = radius > near;
        candidate.line_x = std::clamp(point.x, box.left, box.right), candidate.line_y = std::clamp(point.y, box.bottom, box.top);
        double cost = outside(box, area);
        for (const auto& other : taken) cost += overlap(box, other);
        if (cost < 1e-6) cost = 0;  // of rounding
        if (cost < least) least = cost, best = candidate;
      }
    }
    taken.push_back(box_of(best, half_width, half_height));
    placed.push_back(best);
  }
  return placed;
}

}  // namespace kronlab::analysis
