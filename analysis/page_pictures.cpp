#include "analysis/page_pictures.hpp"

#include <unistd.h>

#include <filesystem>
#include <functional>

#include "analysis/gnuplot.hpp"
#include "analysis/pareto.hpp"
#include "analysis/perplexity_points.hpp"
#include "analysis/search_curves.hpp"
#include "analysis/training_curves.hpp"
#include "framework/base/error.hpp"
#include "framework/base/hash.hpp"

namespace kronlab::analysis {
namespace {

std::string svg_of(const Drawing& drawing) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("kronlab-picture-{}.svg", ::getpid());
  draw_picture(drawing, path.string());
  const std::string svg = read_text_file(path.string());
  std::filesystem::remove(path);
  return svg;
}

}  // namespace

std::vector<Picture> page_pictures(const std::vector<storage::RunReader>& runs) {
  const auto results = storage::results_of(runs);
  const std::pair<const char*, std::function<Drawing()>> subjects[] = {
      {"Perplexity of each run", [&] { return perplexity_points(results, Medium::picture); }},
      {"Size against perplexity", [&] { return pareto(results, SizeOf::parameters, Medium::picture); }},
      {"Training", [&] { return training_curves(runs, {"distill/validation_perplexity", "distill/loss"}, Medium::picture); }},
      {"Permutation searches", [&] { return search_curves(runs, Medium::picture); }}};
  std::vector<Picture> pictures;
  for (const auto& [title, draw] : subjects) {
    try {
      pictures.push_back({title, svg_of(draw())});
    } catch (const ConfigError&) {  // these runs have nothing of it
    }
  }
  return pictures;
}

}  // namespace kronlab::analysis
