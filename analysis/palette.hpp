#pragma once

#include <array>
#include <cstddef>

namespace kronlab::analysis {

/// How one line or kind of point is told from the others, on a screen and in a grey print.
struct LineStyle {
  const char* colour;  ///< "#rrggbb"
  int dash;            ///< gnuplot's dash type
  int point;           ///< gnuplot's point type
};

/// From dark to light in even steps of lightness, so that they stay apart without colour; readable with the common kinds of
/// colour blindness.
inline constexpr std::array<const char*, 6> line_colours = {"#0b1f51", "#7b1f52", "#175f80", "#c0582a", "#5aa35a", "#dca937"};
inline constexpr std::array<int, 5> line_dashes = {1, 2, 4, 3, 5};
inline constexpr std::array<int, 7> line_points = {7, 5, 9, 13, 11, 6, 4};

/// Of the i-th line: no two of the first 30 have the same colour and dash, neighbours differ in all three.
constexpr LineStyle line_style(std::size_t i) { return {line_colours[i % line_colours.size()], line_dashes[i % line_dashes.size()], line_points[i % line_points.size()]}; }

/// Of a heat map, from small to large: each darker than the one before.
inline constexpr std::array<const char*, 6> heat_colours = {"#fff7dc", "#fdd49e", "#f99b5f", "#dd5243", "#9a1f4e", "#3f0f47"};

}  // namespace kronlab::analysis
