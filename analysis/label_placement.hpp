#pragma once

#include <string>
#include <vector>

namespace kronlab::analysis {

/// A part of a drawing; y grows upwards. All is in the drawing's own unit, pixels or characters.
struct Box {
  double left = 0.0, right = 0.0, bottom = 0.0, top = 0.0;
};

struct PlacedLabel {
  double x = 0.0, y = 0.0;  ///< the middle of the text
  bool is_far = false;      ///< a line should lead from its point to the text
  double line_x = 0.0, line_y = 0.0;  ///< where that line ends: the nearest point of the text
};

struct LabelArea {
  double width = 0.0, height = 0.0;             ///< where texts may be: from 0, 0
  double character_width = 1.0, line_height = 1.0;
  double gap = 1.0;                             ///< between a point and its text
};

struct LabelledPoint {
  double x = 0.0, y = 0.0;
  std::string text;
};

/// Places each text beside its point, farther away where others are in the way; the first ones have the first choice.
/// Texts cover neither points, nor `obstacles`, nor each other as long as there is room.
std::vector<PlacedLabel> place_labels(const std::vector<LabelledPoint>& points, const std::vector<Box>& obstacles, const LabelArea& area);

}  // namespace kronlab::analysis
