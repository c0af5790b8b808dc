#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <set>
#include <string>
#include <tuple>

#include "analysis/label_placement.hpp"
#include "analysis/layer_place.hpp"
#include "analysis/palette.hpp"
#include "analysis/pareto.hpp"
#include "framework/base/text_table.hpp"

using namespace kronlab;
using namespace kronlab::analysis;

namespace {

/// L* of CIELAB, 0 to 100, of "#rrggbb" in sRGB: what is left in a grey print.
double lightness(const std::string& colour) {
  const auto linear = [&](std::size_t at) {
    const double c = std::stoi(colour.substr(at, 2), nullptr, 16) / 255.0;
    return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
  };
  const double luminance = 0.2126 * linear(1) + 0.7152 * linear(3) + 0.0722 * linear(5);
  return luminance > 216.0 / 24389.0 ? 116 * std::cbrt(luminance) - 16 : luminance * 24389.0 / 27.0;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(drawing_parts)

BOOST_AUTO_TEST_CASE(colours_of_lines_stay_apart_in_grey_and_from_white_paper) {
  for (std::size_t i = 0; i + 1 < line_colours.size(); ++i)
    BOOST_TEST(lightness(line_colours[i + 1]) - lightness(line_colours[i]) > 8.0, line_colours[i] << " " << lightness(line_colours[i]));
  BOOST_TEST(lightness(line_colours.back()) < 80.0);
}

BOOST_AUTO_TEST_CASE(colours_of_a_heat_map_become_darker) {
  for (std::size_t i = 0; i + 1 < heat_colours.size(); ++i)
    BOOST_TEST(lightness(heat_colours[i]) - lightness(heat_colours[i + 1]) > 8.0, heat_colours[i] << " " << lightness(heat_colours[i]));
}

BOOST_AUTO_TEST_CASE(no_two_of_thirty_lines_look_alike) {
  std::set<std::pair<std::string, int>> seen;
  for (std::size_t i = 0; i < 30; ++i) {
    const auto style = line_style(i), next = line_style(i + 1);
    BOOST_TEST(seen.emplace(style.colour, style.dash).second);
    BOOST_TEST((style.dash != next.dash && style.point != next.point && std::string(style.colour) != next.colour));
  }
}

BOOST_AUTO_TEST_CASE(the_front_has_the_points_that_no_other_beats) {
  //                         0   1   2   3   4   5
  const std::vector<double> sizes = {50, 80, 60, 50, 90, 80}, losses = {30, 25, 31, 29, 25, 24};
  BOOST_TEST((pareto_front(sizes, losses) == std::vector<std::size_t>{3, 5}));
  BOOST_TEST(pareto_front({}, {}).empty());
  BOOST_TEST((pareto_front({1, 1}, {2, 2}).size() == 1u));
}

BOOST_AUTO_TEST_CASE(labels_cover_neither_points_nor_each_other_where_there_is_room) {
  std::vector<LabelledPoint> points;
  for (int i = 0; i < 12; ++i) points.push_back({400.0 + 9 * i, 200.0 + 5 * (i % 3), "a label " + std::to_string(i)});
  const LabelArea area{900, 400, 7, 15, 8};
  const auto placed = place_labels(points, {}, area);
  BOOST_REQUIRE(placed.size() == points.size());
  const auto half_width = [&](std::size_t i) { return 3.5 * static_cast<double>(points[i].text.size()); };
  for (std::size_t i = 0; i < placed.size(); ++i) {
    BOOST_TEST((placed[i].x - half_width(i) >= 0 && placed[i].x + half_width(i) <= 900 && placed[i].y >= 7.5 && placed[i].y <= 392.5));
    for (std::size_t j = 0; j < placed.size(); ++j) {
      const bool covers_point = std::abs(placed[i].x - points[j].x) < half_width(i) && std::abs(placed[i].y - points[j].y) < 7.5;
      BOOST_TEST(!covers_point, i << " covers the point " << j);
      if (i == j) continue;
      const bool covers = std::abs(placed[i].x - placed[j].x) < half_width(i) + half_width(j) - 1e-9 && std::abs(placed[i].y - placed[j].y) < 15 - 1e-9;
      BOOST_TEST(!covers, i << " covers " << j);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_label_alone_is_beside_its_point) {
  const auto placed = place_labels({{100, 100, "word"}}, {}, {200, 200, 7, 15, 8});
  BOOST_TEST(!placed.front().is_far);
  BOOST_TEST(placed.front().x > 100);
  const auto at_edge = place_labels({{199, 199, "word"}}, {}, {200, 200, 7, 15, 8});
  BOOST_TEST(at_edge.front().x + 14 <= 200);
  const auto behind = place_labels({{100, 100, "word"}}, {{105, 200, 50, 150}}, {200, 200, 7, 15, 8});
  BOOST_TEST(behind.front().x + 14 <= 105);
}

BOOST_AUTO_TEST_CASE(a_layers_block_and_kind_come_from_its_name) {
  const auto is = [](const std::string& name, Index block, const std::string& kind) {
    const auto place = place_of_layer(name);
    BOOST_TEST(place.block == block, name);
    BOOST_TEST(place.kind == kind, name);
  };
  is("layers.3.mlp.up_proj", 3, "mlp.up_proj");
  is("h.11.attn.c_attn[q]", 11, "attn.c_attn[q]");
  is("layers.3", 3, "block");
  is("h.0.mlp.c_fc.left", 0, "mlp.c_fc.left");
  is("wte", -1, "wte");
  is("wte.left", -1, "wte.left");
  is("lm_head.2", -1, "lm_head.2");
}

BOOST_AUTO_TEST_SUITE_END()
